"""Keys of homodyne 2.x configuration files that have no effect here.

Such files load. Every key below is accepted and named in one warning; a key that is neither here nor in
`_config` is an error. An entry stands for itself and for everything beneath it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

FORMER_KEYS: Mapping[str, str] = MappingProxyType(
    {
        # Descriptions and settings of the former program, not of the analysis.
        "metadata": "",
        "analysis_settings": "",
        "logging": "",
        "performance": "",
        "performance_settings": "",
        "advanced_settings": "",
        "quality_control": "",
        "validation": "",
        "validation_rules": "",
        "plotting": "see output.plots and output.formats",
        "noise_estimation": "see noise.sigma",
        "analyzer_parameters.comments": "",
        # The layout and the angles are read from the data file itself; nothing is cached.
        "experimental_data.phi_angles_path": "angles come from the data file",
        "experimental_data.phi_angles_file": "angles come from the data file",
        "experimental_data.cache_file_path": "",
        "experimental_data.cache_directory": "",
        "experimental_data.cache_filename_template": "",
        "experimental_data.cache_compression": "",
        "experimental_data.use_caching": "",
        "experimental_data.data_type": "",
        "experimental_data.file_format": "",
        "experimental_data.exchange_key": "",
        "phi_filtering.algorithm": "",
        "phi_filtering.tolerance": "ranges are used as written",
        "phi_filtering.quality_control": "",
        "phi_filtering.target_ranges[].description": "",
        "initial_parameters.units": "",
        "parameter_space.model": "",
        "parameter_space.priors": "see parameter_space.bounds, whose entries contrast and offset hold for every angle",
        "parameter_space.bounds[].unit": "",
        "parameter_space.bounds[].description": "",
        "optimization.nlsq.workflow": "",
        "optimization.nlsq.goal": "",
        "optimization.nlsq.memory_threshold_gb": "see optimization.nlsq.memory_fraction",
        "optimization.nlsq.trust_region_scale": "",
        "optimization.nlsq.verbose": "",
        "optimization.nlsq.x_scale_map": "",
        "optimization.nlsq.progress": "",
        "optimization.nlsq.diagnostics": "",
        # Settings of a descent that is not made here: a step that makes χ² larger is never taken.
        "optimization.nlsq.hybrid_streaming.enable": "see experimental_data.stream",
        "optimization.nlsq.hybrid_streaming.normalization_strategy": "see normalize",
        "optimization.nlsq.hybrid_streaming.warmup_learning_rate": "",
        "optimization.nlsq.hybrid_streaming.gauss_newton_tol": "see optimization.nlsq.tolerance",
        "optimization.nlsq.hybrid_streaming.trust_region_initial": "",
        "optimization.nlsq.hybrid_streaming.regularization_factor": "",
        "optimization.nlsq.hybrid_streaming.enable_checkpoints": "every pass is kept",
        "optimization.nlsq.hybrid_streaming.checkpoint_frequency": "every pass is kept",
        "optimization.nlsq.hybrid_streaming.validate_numerics": "",
        "optimization.nlsq.hybrid_streaming.verbose": "",
        "optimization.nlsq.hybrid_streaming.log_frequency": "",
        "optimization.nlsq.hybrid_streaming.enable_warm_start_detection": "",
        "optimization.nlsq.hybrid_streaming.warm_start_threshold": "",
        "optimization.nlsq.hybrid_streaming.enable_adaptive_warmup_lr": "",
        "optimization.nlsq.hybrid_streaming.warmup_lr_refinement": "",
        "optimization.nlsq.hybrid_streaming.warmup_lr_careful": "",
        "optimization.nlsq.hybrid_streaming.enable_cost_guard": "",
        "optimization.nlsq.hybrid_streaming.cost_increase_tolerance": "",
        "optimization.nlsq.hybrid_streaming.enable_step_clipping": "",
        "optimization.nlsq.hybrid_streaming.max_warmup_step_size": "",
        # The basis is chosen by what the data need, not by the number of angles.
        "optimization.nlsq.anti_degeneracy.constant_scaling_threshold": "auto compares the bases with the data; "
        "constant is one contrast and one offset, which are fitted",
        # The penalty follows from its two targets; the weights follow the direction of the flow that is fitted.
        "optimization.nlsq.anti_degeneracy.c0_bounds": "see parameter_space.bounds",
        "optimization.nlsq.anti_degeneracy.ck_bounds": "see parameter_space.bounds",
        "optimization.nlsq.anti_degeneracy.o0_bounds": "see parameter_space.bounds",
        "optimization.nlsq.anti_degeneracy.ok_bounds": "see parameter_space.bounds",
        "optimization.nlsq.anti_degeneracy.hierarchical.physical_ftol": "",
        "optimization.nlsq.anti_degeneracy.hierarchical.per_angle_ftol": "",
        "optimization.nlsq.anti_degeneracy.hierarchical.log_stage_transitions": "",
        "optimization.nlsq.anti_degeneracy.hierarchical.save_intermediate_results": "",
        "optimization.nlsq.anti_degeneracy.regularization.max_cv": "see target_cv",
        "optimization.nlsq.anti_degeneracy.regularization.auto_tune_lambda": "see lambda and target_contribution",
        "optimization.nlsq.anti_degeneracy.regularization.group_indices": "",
        "optimization.nlsq.anti_degeneracy.gradient_monitoring.reset_per_angle_to_mean": "see response",
        "optimization.nlsq.anti_degeneracy.gradient_monitoring.lambda_multiplier_on_collapse": "",
        "optimization.nlsq.anti_degeneracy.gradient_monitoring.check_interval": "",
        "optimization.nlsq.anti_degeneracy.gradient_monitoring.watch_parameters": "",
        "optimization.nlsq.anti_degeneracy.gradient_monitoring.watch_threshold": "",
        "optimization.nlsq.anti_degeneracy.gradient_monitoring.watch_consecutive_triggers": "",
        "optimization.nlsq.anti_degeneracy.gradient_monitoring.watch_min_iteration": "",
        "optimization.nlsq.anti_degeneracy.shear_weighting.update_frequency": "",
        "optimization.nlsq.anti_degeneracy.shear_weighting.initial_phi0": "see initial_parameters.values",
        # Populations have the sizes of the restart rule; every search begins at the start values, in coordinates of its own.
        "optimization.nlsq.cmaes.popsize": "it follows from the number of parameters and the restarts",
        "optimization.nlsq.cmaes.sigma_warmstart": "see sigma",
        "optimization.nlsq.cmaes.nlsq_warmstart": "",
        "optimization.nlsq.cmaes.warmstart_auto_skip": "see enable",
        "optimization.nlsq.cmaes.warmstart_skip_threshold": "",
        "optimization.nlsq.cmaes.normalize": "",
        "optimization.nlsq.cmaes.normalization_epsilon": "",
        "optimization.nlsq.cmaes.diagonal_filtering": "the diagonal never counts",
        # Minima are told apart by what they predict, and refined like any other fit.
        "optimization.nlsq.multi_start.sampling_strategy": "a Latin hypercube",
        "optimization.nlsq.multi_start.use_screening": "see screen_keep_fraction",
        "optimization.nlsq.multi_start.refinement_ftol": "see optimization.nlsq.tolerance",
        "optimization.nlsq.multi_start.degeneracy_threshold": "minima that the data do not tell apart are one",
        "optimization.nlsq.quality_validation": "",
        "optimization.angle_filtering": "see phi_filtering",
        "optimization.streaming": "see experimental_data.stream and optimization.nlsq.hybrid_streaming",
        "optimization.stratification": "every chunk of rows holds all angles",
        "optimization.sequential": "",
        "optimization.recovery.lr_decay": "",
        "optimization.recovery.lambda_growth": "",
        "optimization.recovery.trust_decay": "",
        "optimization.recovery.log_retries": "",
        # Meant for a sampler that walks through all contrasts and offsets too; here few draws of few parameters do.
        "optimization.mcmc": "see optimization.cmc",
        "optimization.cmc.enable": "see optimization.method",
        "optimization.cmc.min_points_for_cmc": "see num_shards and method",
        "optimization.cmc.run_id": "",
        "optimization.cmc.backend": "see n_workers",
        "optimization.cmc.backend_config": "see n_workers and checkpoint_dir; every finished chain is kept",
        "optimization.cmc.sharding": "see num_shards; every shard has rows of all maps",
        "optimization.cmc.initialization": "",
        "optimization.cmc.constant_scaling_threshold": "see per_angle_mode",
        "optimization.cmc.per_shard_mcmc": "see num_warmup, num_samples, num_chains and target_accept_prob",
        "optimization.cmc.per_shard_timeout": "see shard_timeout",
        "optimization.cmc.heartbeat_timeout": "see shard_timeout",
        "optimization.cmc.combination": "shards are combined with all correlations, and none is left out",
        "optimization.cmc.prior_tempering": "priors are applied once, to all the data",
        "optimization.cmc.reparameterization": "rates are sampled by their size, slope and share of the power law",
        "optimization.cmc.validation": "what is certified, and why something is not, is in the results",
        "optimization.vi": "",
        "optimization.hybrid": "",
        "output.base_directory": "see output.directory",
        "output.create_subdirs": "",
        "output.timestamp_dirs": "",
        "output.compress_hdf5": "",
        "output.compression_level": "",
        "output.include_diagnostics": "",
    }
)
"""Dotted key to what to know about it; ``[]`` stands for the entries of a list."""


def _per_angle_scaling(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return None
    return (
        "contrast and offset need no start values" if any(item is not None for item in value.values()) else ""
    )


def _formats(value: object) -> str | None:
    return "results are always written as json, npz and csv" if isinstance(value, Mapping) else None


def _workers(value: object) -> str | None:
    # There, all processors but one.
    is_zero = isinstance(value, int) and not isinstance(value, bool) and value == 0
    return "0 is taken for null: one fit after the other" if is_zero else None


FORMER_VALUES: Mapping[str, Callable[[object], str | None]] = MappingProxyType(
    {
        "initial_parameters.per_angle_scaling": _per_angle_scaling,
        "optimization.nlsq.multi_start.n_workers": _workers,
        "output.formats": _formats,
    }
)
"""Dotted key to a function of its plain value, where the value decides.

The function returns what to know, "" when the value asks for what is done anyway, or None when it is a
present value of a present key; it raises ValueError when the value asks for what this version does not do.
"""
