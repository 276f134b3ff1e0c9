"""Putting other weights into a TensorRT plan that was built for it, in place of a new build."""

from __future__ import annotations

from pathlib import Path

from rvm_model.engines import cuda
from rvm_model.engines.base import EngineInfo
from rvm_model.engines.manifest import START_FILES, EngineError, EngineManifest, check_files
from rvm_model.engines.tensorrt_engine import check_fit
from rvm_model.engines.tensorrt_runtime import logger, tensorrt


def refit_plan(base: Path, graph: Path, plan: Path, info: EngineInfo) -> dict[str, str]:
    """Write an engine's plan with the weights of another graph.

    Args:
        base: folder of an engine that was exported with `--refittable`; it is left as it is.
        graph: the ONNX file of the same network with other weights.
        plan: the file to write.
        info: what it has to be.

    Returns:
        Versions of what built it.

    Raises:
        FileNotFoundError: there is no such folder.
        EngineError: the folder's plan is not refittable, of another shape, damaged or of another machine, or TensorRT
            does not take the graph for it.
    """
    manifest = EngineManifest.read(base)
    check_files(base, manifest)
    if manifest.gpu is None or not manifest.gpu.refittable:
        raise EngineError(f"{base}: its weights cannot be replaced; expected an engine exported with --refittable")
    names = ("height", "width", "patch_size", "dim", "cameras", "precision", "rest")
    got, expected = ({name: getattr(each, name) for name in names} for each in (manifest, info))
    if got != expected:
        raise EngineError(f"{base}: got an engine of {got}, expected {expected}; export this one anew")
    check_fit(base, manifest, info.device)
    trt = tensorrt()
    log = logger(trt)
    with cuda.use(info.device):
        runtime = trt.Runtime(log)
        runtime.engine_host_code_allowed = manifest.gpu.version_compatible
        engine = runtime.deserialize_cuda_engine((base / START_FILES["tensorrt"]).read_bytes())
        if engine is None:
            raise EngineError(f"{base}: TensorRT {trt.__version__} refuses the plan ({log.reasons()}); export it anew")
        refitter = trt.Refitter(engine, log)
        parser = trt.OnnxParserRefitter(refitter, log)
        if not parser.refit_from_file(str(graph)):
            log.reasons()  # The parser has told them to the logger too.
            errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
            raise EngineError(f"{base}: does not take the weights ({'; '.join(errors)}); export this engine anew")
        if not refitter.refit_cuda_engine():
            raise EngineError(f"{base}: does not take the weights ({log.reasons()}); export this engine anew")
        settings = engine.create_serialization_config()
        settings.set_flag(trt.SerializationFlag.INCLUDE_REFIT)  # The new plan is refittable too.
        plan.write_bytes(engine.serialize_with_config(settings))
    return {name: manifest.built_with[name] for name in ("tensorrt", "cuda") if name in manifest.built_with}
