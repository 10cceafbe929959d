"""Which of an optimiser's numbered parameters is which LoRA matrix.

From a name map, or from the adapter saved beside the dump.
"""

from collections.abc import Sequence
from pathlib import Path

from tracedlm.records.adapter import ADAPTER_FILE, Adapter
from tracedlm.records.json_text import parse_json
from tracedlm.records.lora_names import modules_of

REMEDY = (
    "pass names=FILE, a JSON list of parameter names in the optimiser's order (or kind='snapshots'"
    " for a map from the adapters)"
)


def name_map_beside(dump: Path) -> Path | None:
    """A JSON file with `name` in its own name, in the dump's folder or the one above.

    None where there is none.
    """
    # The dump's own folder first: its map is nearer.
    files = [
        file
        for folder in (dump.parent, dump.parent.parent)
        for file in sorted(folder.glob("*name*.json"))
    ]
    return files[0] if files else None


def read_name_map(path: Path) -> dict[int, str]:
    """Number -> parameter name, from a JSON file.

    A list in the optimiser's order, `{name: number}` or `{number: name}`.

    Raises:
        ValueError: The file is missing or something else.
    """
    try:
        raw = parse_json(path.read_bytes())
        pairs = list(enumerate(raw) if isinstance(raw, list) else raw.items())
        if isinstance(raw, dict) and all(isinstance(value, int) for value in raw.values()):
            pairs = [(number, name) for name, number in pairs]
        return {int(number): str(name) for number, name in pairs}
    except FileNotFoundError:
        raise ValueError(f"{path}: name map not found; correct names=...") from None
    except (ValueError, AttributeError, TypeError, OverflowError, OSError) as error:
        raise ValueError(
            f"{path}: not a name map ({error}); expected a JSON list of parameter names, {{name:"
            " number} or {number: name}"
        ) from error


def order_from_adapter(
    dump: Path, groups: Sequence[Sequence[int]], shapes: dict[int, tuple[int, ...]]
) -> dict[int, str]:
    """Number -> module from the adapter beside a Trainer's dump, where that leaves no choice.

    A Trainer numbers trainable parameters in the order of the model's definition; every model we
    read defines q, k, v in this order in each block, and PEFT LoRA's A before its B. So the order
    is known if nothing but these was trained, and every shape must fit.

    Args:
        dump: The `optimizer.pt`.
        groups: Parameter numbers of each group of the optimiser.
        shapes: Shape of each parameter that has moments.

    Raises:
        ValueError: There is no adapter, or it leaves a choice; the message asks for the name map.
    """
    if not (dump.parent / ADAPTER_FILE).exists():
        raise ValueError(
            f"{dump}: numbers its parameters, and neither a *name*.json nor {ADAPTER_FILE} beside"
            f" it names them; {REMEDY}"
        )
    adapter = Adapter(dump.parent)
    # As models define them: by block, q before k before v, and LoRA's A before its B.
    order = sorted(
        adapter.modules(),
        key=lambda name: (int(name.split(".")[0]), "qkv".index(name.split(".")[1]), name[-1]),
    )
    filled = [numbers for numbers in groups if numbers]
    if adapter.others or len(filled) != 1 or len(filled[0]) != len(order):
        raise ValueError(
            f"{dump}: {sum(map(len, filled))} parameters in {len(filled)} groups do not follow from"
            f" the adapter's {len(order)} matrices of q, k and v and {len(adapter.others)} others;"
            f" {REMEDY}"
        )
    for number, module in zip(filled[0], order, strict=True):
        if number in shapes and shapes[number] != adapter.shape(module):
            raise ValueError(
                f"{dump}: parameter {number} has shape {shapes[number]}, the adapter's {module}"
                f" {adapter.shape(module)}; {REMEDY}"
            )
    return dict(zip(filled[0], order, strict=True))


def to_modules(names: dict[int, str], source: str) -> dict[int, str]:
    """Number -> module name, of the parameters that are LoRA matrices of q, k or v.

    Raises:
        ValueError: Two of them are one module's, see `lora_names.modules_of`.
    """
    full_names = modules_of(names.values(), source)
    modules = {full_name: module for module, full_name in full_names.items()}
    return {number: modules[name] for number, name in names.items() if name in modules}


def check_order(
    names: dict[int, str],
    groups: Sequence[Sequence[int]],
    shapes: dict[int, tuple[int, ...]],
    source: str,
) -> None:
    """Refuse a name map that is not in the optimiser's order.

    Lists of names are often sorted, as an adapter's keys are, or in the model's order where the
    optimiser has groups. But an optimiser numbers the parameters of each group in the order in
    which the model defines them, q before k before v. And the two matrices of a module share their
    rank.

    Args:
        names: Number -> parameter name, as the map says.
        groups: Parameter numbers of each group of the optimiser.
        shapes: Shape of each parameter that has moments.
        source: The map, for the message.

    Raises:
        ValueError: It cannot be the optimiser's order.
    """
    modules = to_modules(names, source)
    for group in groups:
        listed = [number for number in group if number in modules]
        sorted_by_name = sorted(listed, key=lambda number: names[number])
        defined = sorted(listed, key=lambda number: _place(modules[number]))
        if listed == sorted_by_name and listed != defined:
            raise ValueError(
                f"{source}: the names are sorted,"
                f" {', '.join(names[number] for number in listed[:3])}, ..; {REMEDY}"
            )
    numbers = {module: number for number, module in modules.items()}
    for number, module in modules.items():
        partner = numbers.get(f"{module[:-1]}B") if module.endswith("A") else None
        if partner is None or number not in shapes or partner not in shapes:
            continue
        # A is [r, d_in] and B [d, r]: they share the rank r.
        down, up = shapes[number], shapes[partner]
        if len(down) == len(up) == 2 and down[0] != up[1]:
            raise ValueError(
                f"{source}: parameters {number} and {partner}, named {module} and"
                f" {modules[partner]}, have shapes {down} and {up}, which are not the two matrices"
                f" of one module: the names are not in the optimiser's order; {REMEDY}"
            )


def _place(module: str) -> tuple[int, int, str]:
    """Layer, projection and matrix, as models define them."""
    layer, projection, matrix = module.split(".")
    return int(layer), "qkv".index(projection), matrix
