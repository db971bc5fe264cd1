"""One network, data and a recipe go in; it is trained to the end, and its spec, weights and curve are in a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from archspec.artifacts import save_weights
from archspec.compiler import build
from archspec.costs import cost
from archspec.errors import StudyError
from archspec.schema.load import network_from, network_yaml
from archspec.schema.located import LocatedDict
from archspec.schema.network import Network
from archspec.schema.source import read_text
from archspec.schema.validation import validate
from archspec.search.candidate import Candidate, candidate
from archspec.search.data.config import DataConfig
from archspec.search.data.images import ImageData
from archspec.search.data.load import open_data
from archspec.search.growth import Growth
from archspec.search.learning_curve import EpochResult, TrainResult
from archspec.search.machine import chosen_device, environment
from archspec.search.recipe import Recipe
from archspec.search.runner import open_store
from archspec.search.study import Study, protocol_digest, with_values
from archspec.search.train import check_recipe
from archspec.search.train import train as run_training

TIMES_LONGER = 3


def promoted(study: Study, trial: int, epochs: int | None, output: Path | None) -> tuple[Network, Recipe, Path]:
    """The network of a trial, the study's recipe made longer, and the folder where the result goes.

    Raises StudyError when the study has no such trial, SpecError when so many epochs do not suit its recipe.
    """
    with open_store(study) as store:
        records = store.evaluations(study.name)
    numbers = {record.trial: record for record in records if record.trial is not None}
    if trial not in numbers:
        found = f"trials 0 to {max(numbers)}" if numbers else "no trial yet"
        raise StudyError(f"study {study.name!r} has no trial {trial}\n    found: {found}")
    network = network_from(read_text(numbers[trial].spec, f"{study.name}, trial {trial}"))
    longer = study.recipe.model_dump(mode="json") | {"epochs": epochs or TIMES_LONGER * study.recipe.epochs}
    return network, validate(Recipe, LocatedDict(longer)), output or study.folder / f"promoted-{trial}"


def training_of(
    network: Network, data: str, epochs: int | None, size: int | None, seed: int, changes: tuple[str, ...]
) -> tuple[DataConfig, Recipe]:
    """Data and recipe from the words of the command line. Raises SpecError for a word that is not of either."""
    named = LocatedDict({"name": data}) if not Path(data).exists() else _images(data)
    named["size"] = size or min(network.input.height_width)
    named["seed"] = seed
    words = LocatedDict({"data": named, "recipe": LocatedDict()})
    if epochs is not None:
        words["recipe"]["epochs"] = epochs
    words = with_values(words, changes)
    return validate(DataConfig, words["data"]), validate(Recipe, words["recipe"])


def _images(path: str) -> LocatedDict:
    return LocatedDict({"name": "imagefolder", "root": path})


def train_longer(
    network: Network,
    data: DataConfig,
    recipe: Recipe,
    seed: int,
    folder: Path,
    device: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train and keep everything: spec.yaml, weights.safetensors, training.json. Run again, it resumes.

    Raises SpecError, DataError or TrainingError; what was trained before is kept.
    """
    images = open_data(data)
    point = candidate(network, images)
    where = chosen_device(device)
    check_recipe(recipe, where)
    folder.mkdir(parents=True, exist_ok=True)
    module = build(point.program, seed=seed, written=point.network)
    result = run_training(
        module,
        images,
        recipe,
        seed=seed,
        growth=Growth(point.network),
        checkpoint=_checkpoint(folder, point, images, recipe, seed),
        identity=point.program.digest,
        on_epoch=_teller(recipe, say),
        device=where,
    )
    provenance = {
        "seed": seed,
        "data": data.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "environment": environment(where),
    }
    found = _kept(point, module, result, folder, seed) | provenance
    (folder / "training.json").write_text(json.dumps(found, indent=2, default=str) + "\n")
    return found


def _checkpoint(folder: Path, point: Candidate, images: ImageData, recipe: Recipe, seed: int) -> Path:
    """One for each network and protocol, so that a changed recipe does not meet the checkpoint of another."""
    protocol = protocol_digest({"data": images.digest, "recipe": recipe.fingerprint, "seed": seed})
    return folder / f"checkpoint-{point.program.digest[:12]}-{protocol[:12]}.pt"


def _teller(recipe: Recipe, say: Callable[[str], None]) -> Callable[[EpochResult], bool]:
    def told(epoch: EpochResult) -> bool:
        accuracy = 100 * epoch.val_accuracy
        say(f"epoch {epoch.epoch}/{recipe.epochs}  loss {epoch.train_loss:.3f}  accuracy {accuracy:.1f} %")
        return True

    return told


def _kept(point: Candidate, module: nn.Module, result: TrainResult, folder: Path, seed: int) -> dict[str, Any]:
    """Write spec and weights into the folder; what was found, with their places."""
    spec, weights = folder / "spec.yaml", folder / "weights.safetensors"
    spec.write_text(network_yaml(point.network))
    digest = point.program.digest
    save_weights(module, weights, {"name": point.network.name, "digest": digest, "seed": str(seed)})
    return {
        "name": point.network.name,
        "digest": digest,
        "accuracy": result.last.val_accuracy,
        "epochs": len(result.history),
        "cost": vars(cost(point.program)),
        "spec": str(spec),
        "weights": str(weights),
        "curve": [vars(epoch) for epoch in result.history],
    }
