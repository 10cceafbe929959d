"""Rule `data`: the problems of each split, in the published file format."""

from pathlib import Path

from tracedlm.records.manifest import write_manifest
from tracedlm.resources import located
from tracedlm.tasks import Problem, get_task


def make_data(dataset: str, test_file: str, sizes: dict[str, int], seed: int, out: dict[str, Path], manifest: Path) -> None:
    """Draw train and validation problems, take the head of the test file, and check that no problem is in two splits.

    Raises:
        ValueError: The test file is missing, malformed or too short, or it shares a problem with a drawn split.
    """
    task = get_task(dataset)
    path = located(test_file)
    if not path.exists():
        raise ValueError(f"catalogue.{dataset}.test: {test_file} does not exist; expected a file with the fields {', '.join(task.fields)}")
    test = task.read(path)
    if len(test) < sizes["test"]:
        raise ValueError(f"{path} has {len(test)} problems, catalogue.{dataset}.test_samples asks for {sizes['test']}")
    problems: dict[str, list[Problem]] = {"test": test[: sizes["test"]]}
    for split in ("train", "validation"):
        problems[split] = task.sample(split, sizes[split], seed)
    keys = {split: {task.key(problem) for problem in chosen} for split, chosen in problems.items()}
    for split in ("train", "validation"):
        if shared := keys[split] & keys["test"]:
            raise ValueError(
                f"{path}: {len(shared)} test problems are also in the {split} split, for example {sorted(shared)[0]}; "
                f"add their digests to resources/held_out/{dataset}.txt (see resources/held_out/README.md)"
            )
    for split, chosen in problems.items():
        out[split].parent.mkdir(parents=True, exist_ok=True)
        task.write(chosen, out[split])
    write_manifest(manifest, "data", dataset=dataset, test_file=test_file, seed=seed, sizes=sizes)
