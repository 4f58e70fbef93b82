"""The five layers together: which of them act on a measurement, and a record of when and why."""

import numpy as np

from homodyne_degeneracy._basis_choice import SIGNIFICANCE, BasisChoice, choose_basis
from homodyne_degeneracy._config import DegeneracyConfig
from homodyne_degeneracy._hierarchical import HierarchicalOptimizer, LocalSolver
from homodyne_degeneracy._monitor import GradientCollapseMonitor, MonitorReport
from homodyne_degeneracy._regularizer import AdaptiveRegularizer
from homodyne_degeneracy._weighting import ShearSensitivityWeighting
from homodyne_degeneracy.errors import DegeneracyError
from homodyne_model import AnalysisMode, ModelError, ScalingBasis, ScalingBounds

# With this many angles or fewer the scaling has too few parameters to imitate the shear.
_FEW_ANGLES = 3


class AntiDegeneracyController:
    """Decides which layers act, makes them, and says in sentences what they do.

    Parameters
    ----------
    config : DegeneracyConfig or mapping, optional
        Settings.
    analysis_mode : str or AnalysisMode
        The layers act for ``laminar_flow`` only: without shear, no angular signal can be absorbed.
    phi : array_like, (n_phi,)
        Angles [deg]; the layers act for more than three.
    per_angle_scaling : bool
        Whether contrast and offset may vary with the angle.

    Attributes
    ----------
    active : bool
        Whether layers may act.
    reason : str
        Why, or why not, in a sentence.
    regularizer, monitor, weighting : or None
        The layers 3, 4 and 5 that act.
    sentences : list of str
        What has been decided and done so far, in order.
    warnings : list of str
        Those of them that a reader of the numbers must know.

    Raises
    ------
    DegeneracyError
        If a setting is wrong or the Fourier series that it names is not determined by the angles.

    Examples
    --------
    >>> controller = AntiDegeneracyController(analysis_mode="laminar_flow", phi=[0.0, 30.0, 60.0])
    >>> controller.active, controller.reason
    (False, 'The anti-degeneracy layers stay off: 3 angles leave the scaling too few parameters to imitate the shear (more than 3 are needed).')
    """

    def __init__(
        self, config: DegeneracyConfig | None = None, *, analysis_mode, phi, per_angle_scaling: bool = True
    ) -> None:
        self.config = (
            config if isinstance(config, DegeneracyConfig) else DegeneracyConfig.from_mapping(config or {})
        )
        self.phi = np.array(phi, dtype=float)
        self.per_angle_scaling = bool(per_angle_scaling)
        self.active, self.reason = self._activation(AnalysisMode.parse(analysis_mode))
        self.sentences, self.warnings = [self.reason], []
        self._fixed_basis = self._named_basis()
        layers = self.config
        self.regularizer = self._layer(
            layers.regularization,
            AdaptiveRegularizer,
            "a penalty holds the scatter of contrast and offset over the angles down",
        )
        self.monitor = self._layer(
            layers.gradient_monitoring,
            GradientCollapseMonitor,
            "the gradient of the physical parameters is watched",
        )
        self.weighting = self._layer(
            layers.shear_weighting,
            lambda section: ShearSensitivityWeighting(self.phi, section),
            "angles along the flow count more in the fit",
        )
        self.hierarchical = self.active and layers.hierarchical.enable
        if self.hierarchical:
            self.record("Layer hierarchical: the fit starts with alternating stages.")

    def _activation(self, mode: AnalysisMode) -> tuple[bool, str]:
        off = "The anti-degeneracy layers stay off: "
        n_phi = len(self.phi)
        if not self.config.enable:
            return False, off + "anti_degeneracy.enable is false."
        if mode is not AnalysisMode.LAMINAR_FLOW:
            return False, off + f"{mode.value} has no shear whose angular signal the scaling could absorb."
        if n_phi <= _FEW_ANGLES:
            return False, off + (
                f"{n_phi} angles leave the scaling too few parameters to imitate the shear (more than {_FEW_ANGLES} are needed)."
            )
        if not self.per_angle_scaling:
            return False, off + "contrast and offset are the same for all angles."
        return True, (
            f"The anti-degeneracy layers are on: {2 * n_phi} contrasts and offsets of {n_phi} angles could absorb the angular signal of "
            "the shear."
        )

    def _named_basis(self) -> ScalingBasis | None:
        """The basis where nothing is to be decided, with the reason said; None where `choose_scaling` decides."""
        mode, order = self.config.per_angle_mode, self.config.fourier_order
        if not self.per_angle_scaling:
            if mode in ("individual", "fourier"):
                raise DegeneracyError(
                    f"per_angle_mode is {mode!r}, but per_angle_scaling is false; expected one of them to give way."
                )
            return ScalingBasis("constant", order)
        if mode == "auto":
            if self.active:
                return None
            self.record("per_angle_mode auto took individual, as the layers are off.")
            return ScalingBasis("individual", order)
        basis = ScalingBasis(mode, order)
        try:
            basis.matrix(self.phi)
        except ModelError as error:
            raise DegeneracyError(f"per_angle_mode is 'fourier': {error}") from error
        return basis

    def _layer(self, section, make, deed: str):
        if not (self.active and section.enable):
            return None
        made = make(section)
        self.record(f"Layer {type(made).__name__}: {deed}.")
        return made

    def record(self, sentence: str) -> None:
        """Add to ``sentences`` what was decided or done."""
        self.sentences.append(sentence)

    @property
    def chooses(self) -> bool:
        """Whether `choose_scaling` decides by the data."""
        return self._fixed_basis is None

    @property
    def first_basis(self) -> ScalingBasis:
        """The basis to start with: the one that is named, or individual scaling until `choose_scaling` has decided."""
        return self._fixed_basis or ScalingBasis("individual", self.config.fourier_order)

    def choose_scaling(
        self,
        gram,
        n_points: int,
        *,
        bounds: ScalingBounds | None = None,
        free_physical=None,
        inflation: float = 1.0,
        significance: float = SIGNIFICANCE,
    ) -> ScalingBasis:
        """The basis of contrast and offset: the one that is named, or for ``auto`` the smallest that describes the data.

        Parameters
        ----------
        gram, n_points, bounds, free_physical, inflation, significance
            As for `choose_basis`; unused where the basis is named.

        Returns
        -------
        ScalingBasis
            ``basis.matrix(phi)`` is what `homodyne_model.compress` takes.
        """
        if self._fixed_basis is not None:
            return self._fixed_basis
        choice: BasisChoice = choose_basis(
            gram,
            self.phi,
            n_points,
            order=self.config.fourier_order,
            fourier_threshold=self.config.fourier_auto_threshold,
            bounds=bounds,
            free_physical=free_physical,
            inflation=inflation,
            significance=significance,
        )
        self.record(choice.sentence)
        return choice.basis

    def observe(self, gram, contrast, offset, **choices) -> MonitorReport | None:
        """Let the monitor look at an iteration (`GradientCollapseMonitor.observe`); None where there is no monitor."""
        if self.monitor is None:
            return None
        report = self.monitor.observe(gram, contrast, offset, **choices)
        if report.sentence:
            self.record(report.sentence)
            self.warnings.append(report.sentence)
        return report

    def hierarchical_optimizer(
        self,
        *,
        scaling_bounds: ScalingBounds | None = None,
        basis=None,
        local_solver: LocalSolver | None = None,
    ) -> HierarchicalOptimizer:
        """Layer 2 with the settings and the regularizer of this controller, whether a fit starts with it or a collapse asks for it."""
        return HierarchicalOptimizer(
            self.config.hierarchical,
            scaling_bounds=scaling_bounds,
            basis=basis,
            regularizer=self.regularizer,
            local_solver=local_solver,
        )
