# %% [markdown]
# # own_dynamics
#
# To come.
