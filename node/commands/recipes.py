"""`lodestone methods` and `lodestone recipes`: what there is to choose from, and each method's source and settings."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from node.commands.console import err, out, print_json
from node.recipe_files import known_recipes, read_recipe
from node.settings import load_settings
from pipeline.errors import UnknownMethod
from pipeline.method import Method, nearest
from pipeline.methods import FINER, IMAGE_STEPS, RECONSTRUCTION, STEPS
from pipeline.networks.cards import training_state
from pipeline.recipe import Recipe
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.super_resolution import Refinement

AnyMethod = Method | Reconstruction | Refinement
IMAGE_INPUTS = {RECONSTRUCTION: ("k-space", "coil sensitivities"), FINER: ("magnitude", "phase")}


def list_methods(step: str | None, as_json: bool) -> None:
    """Print the methods of every step, or those of one step with their settings.

    Raises
    ------
    UnknownMethod
        There is no such step.
    """
    every: dict[str, Mapping[str, AnyMethod]] = {**IMAGE_STEPS, **STEPS}
    if step is not None and step not in every:
        raise UnknownMethod(f"There is no step '{step}'; {nearest(step, every)}")
    chosen = {step: every[step]} if step else every
    if as_json:
        print_json([described(name, method) for name, table in chosen.items() for method in table.values()])
        return
    if step is None:
        table = Table("step", "method", "device", "training", "source", box=None, pad_edge=False)
        for name, ways in chosen.items():
            for index, method in enumerate(ways.values()):
                step_name = name if index == 0 else ""
                training = training_state(method.name).state if method.learned else ""
                devices = ", ".join(described(name, method)["devices"])
                table.add_row(step_name, method.name, devices, training, method.citation)
        out.print(table)
        err.print("\n`lodestone methods STEP` shows inputs, outputs and settings.", style="dim")
        return
    for method in chosen[step].values():
        print_method(step, method)


def described(step: str, method: AnyMethod) -> dict[str, Any]:
    """Return a method's facts as plain values; `memory_volumes` is None where nobody has measured it."""
    if isinstance(method, Method):
        taken, optional, made = method.inputs, method.optional_inputs, method.outputs
        devices, memory = method.devices, method.memory_volumes
    else:
        taken, optional, made = IMAGE_INPUTS[step], (), ("magnitude", "phase")
        devices, memory = ("cpu", "cuda"), None
    return {
        "step": step,
        "name": method.name,
        "citation": method.citation,
        "inputs": taken,
        "optional_inputs": optional,
        "outputs": made,
        "learned": method.learned,
        "training": asdict(training_state(method.name)) if method.learned else None,
        "devices": devices,
        "memory_volumes": memory,
        "parameters": [
            {
                "name": item.name,
                "default": item.default,
                **{key: item.metadata.get(key) for key in ("unit", "help", "minimum", "maximum", "choices")},
            }
            for item in fields(method.settings)
        ],
    }


def print_method(step: str, method: AnyMethod) -> None:
    """Print one method with its settings."""
    known = described(step, method)
    out.print(method.name, style="bold")
    out.print(f"  source   {method.citation}", soft_wrap=True)
    if method.learned:
        training = training_state(method.name)
        remedy = "" if training.sha256 else f"; train it: lodestone train {method.name} --export"
        out.print(f"  learned  {training.sentence}{remedy}", soft_wrap=True)
    optional = f" [{', '.join(known['optional_inputs'])}]" if known["optional_inputs"] else ""
    out.print(f"  takes    {', '.join(known['inputs'])}{optional}", markup=False)
    out.print(f"  makes    {', '.join(known['outputs'])}")
    memory = known["memory_volumes"]
    less = ", less in tiles where that is short" if method.learned else ""
    needs = "" if memory is None else f"; working memory up to {memory:g} volumes{less}"
    out.print(f"  runs on  {', '.join(known['devices'])}{needs}")
    if known["parameters"]:
        table = Table("  parameter", "default", "unit", "range", "", box=None, pad_edge=False)
        for item in known["parameters"]:
            table.add_row(f"  {item['name']}", str(item["default"]), item["unit"], _range(item), item["help"])
        out.print(table)
    out.print()


def _range(parameter: dict[str, Any]) -> str:
    """Return the values that a parameter may take, in words."""
    if parameter["choices"]:
        return " | ".join(parameter["choices"])
    least, most = parameter["minimum"], parameter["maximum"]
    if least is None or most is None:
        return "" if least is None and most is None else (f"≥ {least:g}" if most is None else f"≤ {most:g}")
    return f"{least:g} to {most:g}"


def list_recipes(config: Path | None, as_json: bool) -> None:
    """Print the recipes that come with Lodestone, and a site's own."""
    directory = load_settings(config).recipes_directory if config else None
    found = [(read_recipe(name, directory), origin) for name, origin in known_recipes(directory).items()]
    if as_json:
        print_json(
            [
                {
                    "name": recipe.name,
                    "digest": recipe.digest,
                    "description": recipe.description,
                    "companions": list(recipe.companions),
                    "networks": {name: asdict(training_state(name)) for name in _all_networks(recipe)},
                    "from": origin,
                }
                for (recipe, _), origin in found
            ]
        )
        return
    table = Table("recipe", "what it does", "from", box=None, pad_edge=False)
    for (recipe, _), origin in found:
        table.add_row(recipe.name, f"{recipe.description}{_companions(recipe)}{_networks(recipe)}", origin)
    out.print(table)


def _companions(recipe: Recipe) -> str:
    """Return which series stand beside the map, behind a recipe's description."""
    return f" Beside the map: {', '.join(recipe.companions).replace('_', ' ')}." if recipe.companions else ""


def _networks(recipe: Recipe) -> str:
    """Return which networks a recipe needs and how far they are trained, behind its description."""
    return "".join(f" Network {name}: {training_state(name).state}." for name in _all_networks(recipe))


def _all_networks(recipe: Recipe) -> tuple[str, ...]:
    return (*recipe.networks, *recipe.image_networks)


def show_recipe(name: str, config: Path | None, as_json: bool) -> None:
    """Print one recipe's TOML, or with every default written out as JSON."""
    directory = load_settings(config).recipes_directory if config else None
    recipe, text = read_recipe(name, directory)
    if not as_json:
        sys.stdout.write(text)
        return
    steps = {
        step: {"method": choice.method, "settings": asdict(recipe.image_settings(step))}
        for step, choice in recipe.image_steps.items()
    }
    steps |= {
        step: {"method": choice.method, "settings": asdict(recipe.settings_of(step))}
        for step, choice in recipe.steps.items()
    }
    known = {"name": recipe.name, "digest": recipe.digest, "description": recipe.description}
    print_json({**known, "companions": list(recipe.companions), "steps": steps})
