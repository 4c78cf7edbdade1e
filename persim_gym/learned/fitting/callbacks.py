"""What a fit calls on its way: callbacks, and one that logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persim_gym import checks
from persim_gym.learned.closed_form.search import Trial
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.metrics import MetricsWriter

if TYPE_CHECKING:
    from persim_gym.learned.simulator import PerSim


class FitCallback:
    """What a fit calls; override what is of interest.

    A fit that compares families calls the same functions for each of them in turn.
    """

    def on_fit_begin(self) -> None:
        """Data and options are sound, and the fit begins."""

    def on_trial(self, trial: Trial) -> None:
        """A candidate of a closed form was fitted and judged."""

    def on_epoch(self, progress: FitProgress) -> None:
        """An epoch of networks is over."""

    def on_fit_end(self, sim: PerSim) -> None:
        """The simulator is there; not called where the fit failed."""


class LogMetrics(FitCallback):
    """Writes a fit's numbers to a log.

    Args:
        writer: Such as :func:`persim_gym.metrics.open_metrics` gives.

    Raises:
        TypeError: If it is none.
    """

    def __init__(self, writer: MetricsWriter) -> None:
        checks.with_attributes("writer", writer, ("write", "close"), "one of open_metrics(...)")
        self.writer = writer
        self.trials, self.networks, self.epoch = 0, 0, 0

    def on_fit_begin(self) -> None:
        """Count anew."""
        self.trials, self.networks, self.epoch = 0, 0, 0

    def on_trial(self, trial: Trial) -> None:
        """Log the candidate's error."""
        self.trials += 1
        values = {"degree": trial.degree, "rank": trial.rank, "heldout_error": trial.error}
        self.writer.write(self.trials, {f"closed_form/{k}": v for k, v in values.items()})

    def on_epoch(self, progress: FitProgress) -> None:
        """Log loss and held-out error; networks that are fitted one after the other by number."""
        if self.networks == 0 or progress.epoch <= self.epoch:
            self.networks += 1
        self.epoch = progress.epoch
        values = {
            "loss": sum(progress.loss) / len(progress.loss),
            "heldout_rmse": progress.heldout_rmse,
        }
        self.writer.write(
            progress.epoch, {f"networks_{self.networks}/{k}": v for k, v in values.items()}
        )

    def on_fit_end(self, sim: PerSim) -> None:
        """Log what families were worth, and close the log."""
        compared = sim.card["metrics"].get("compared", {})
        if compared:
            self.writer.write(0, {f"compared/{name}": error for name, error in compared.items()})
        self.writer.close()
