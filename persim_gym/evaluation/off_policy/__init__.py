"""What a policy would earn, from recorded data: by simulation, and by two ways without it."""

from persim_gym.evaluation.off_policy.value import AgentValue, OffPolicy, off_policy

__all__ = ["AgentValue", "OffPolicy", "off_policy"]
