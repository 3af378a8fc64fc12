"""Does a recipe's file say all of a retraining, and does each mistake in it name its place and what is allowed?"""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import processes
import pytest
import tiny_task
from chain import tolerance
from torch import nn

import eden
from eden.app.recipe import NAME, RetrainRecipe, setting
from eden.app.retrain import retrain
from eden.app.tasks import digits_task
from eden.boosting.loop import TrainingError
from eden.common.files import FileError
from eden.faults.faulty_layers import faulty_layers

pytestmark = pytest.mark.usefixtures("one_thread")

TASK = f"{tiny_task.__file__}:tiny"
HEAD = 'format = "eden-recipe"\nversion = 1\n'
EVERYTHING = f"""
format = "eden-recipe"
version = 1
task = "{TASK}"
seed = 3
checkpoint_every = 7
reestimate_chips = 2
calibration_samples = 60

[memory]
errors = {{ model = "data_dependent", ber_zero = 1e-3, ber_one = 3e-3, failure = 0.5 }}
storage = "int16_sign_magnitude"
input_storage = "int16"
percentile = 99.5
correction = "clamp"

[training]
epochs = 2

[boost]
epochs = 4
optimizer = "adamw"
learning_rate = 0.01
distillation = 0.5
clip_percentile = {{ "0.weight" = 99.0 }}
accumulate = 2

[curriculum]
target_ber = {{ "0.weight" = 1e-2, "0.input" = 0, "3.weight" = 2e-3, "3.input" = 1e-3 }}
schedule = "logarithmic"
chips = [5, 6]
clean_share = 0.1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def quiet(_: str) -> None:
    pass


def test_every_value_reaches_what_it_is_for(tmp_path: Path) -> None:
    recipe = RetrainRecipe.load(written(tmp_path, EVERYTHING))
    said: list[str] = []
    model = retrain(recipe, tmp_path / "out", say=said.append)
    assert [line.partition(":")[0] for line in said] == ["before", "after", "written"]
    infos = eden.operands(model)
    assert {info.errors for info in infos.values()} == {eden.DataDependent(1e-3, 3e-3, 0.5)}
    assert {(info.kind, info.storage) for info in infos.values()} == {
        ("weight", "int16_sign_magnitude"),
        ("input", "int16"),
    }
    assert {
        operand.correction for layer in faulty_layers(model).values() for operand in layer.eden_faults.operands()
    } == {"clamp"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("baseline.safetensors", "boost.safetensors", "boosted.safetensors", "recipe.toml", "train.safetensors")
    ]
    whole = RetrainRecipe.load(tmp_path / "out" / NAME)
    assert whole.resolved(tiny_task.tiny()) == whole, "nothing is left to the task"
    assert (whole.training.epochs, whole.training.learning_rate) == (2, 0.1), "the task's own rate"
    assert (whole.boost.momentum, whole.curriculum.epochs_per_step) == (0.9, 2)
    again = retrain(whole, tmp_path / "again", say=quiet)
    assert all(
        (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
        for name in ("boosted.safetensors", "boost.safetensors", NAME)
    ), "the resolved recipe is the run"
    del again


def test_an_interrupted_run_goes_on_and_that_of_another_recipe_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RetrainRecipe.load(written(tmp_path, EVERYTHING))
    retrain(recipe, tmp_path / "whole", say=quiet)
    calls = []

    def interrupt(x: Any, generator: Any) -> Any:
        calls.append(1)
        if len(calls) == 24:
            raise KeyboardInterrupt
        return jitter(x, generator)

    jitter = tiny_task.jitter
    monkeypatch.setattr("eden.app.tasks._module_of_file", lambda path: tiny_task)
    monkeypatch.setattr(tiny_task, "jitter", interrupt)
    with pytest.raises(KeyboardInterrupt):
        retrain(recipe, tmp_path / "out", say=quiet)
    assert not (tmp_path / "out" / "boosted.safetensors").exists()
    other = RetrainRecipe.load(tmp_path / "mine.toml", [("boost.learning_rate", 0.02)])
    with pytest.raises(
        FileError, match=r"recipe.toml: is of another run: boost.learning_rate is 0.01, here it is 0.02"
    ):
        retrain(other, tmp_path / "out", resume=True, say=quiet)
    often = RetrainRecipe.load(tmp_path / "mine.toml", [("checkpoint_every", 2)])
    retrain(often, tmp_path / "out", resume=True, say=quiet)
    boosted = [(tmp_path / folder / "boosted.safetensors").read_bytes() for folder in ("whole", "out")]
    assert boosted[0] == boosted[1]


@pytest.mark.parametrize(
    ("aim", "reached"),
    [
        ('tolerance = "TOLERANCE"', {"0.weight": 1e-3, "0.input": 2e-3, "3.weight": 3e-3, "3.input": 4e-3}),
        ("walk = { trcd = 5.0 }", None),
        ("walk = { trcd = 5.0, steps = 6 }", None),
    ],
)
def test_what_a_curriculum_is_to_reach(aim: str, reached: dict[str, float] | None, tmp_path: Path) -> None:
    limits = {"0.weight": 1e-3, "0.input": 2e-3, "3.weight": 3e-3, "3.input": 4e-3}
    path = tmp_path / "tolerance.json"
    tolerance(limits).save(path)
    text = f"{HEAD}task = '{TASK}'\n[curriculum]\n{aim}".replace("TOLERANCE", os.fspath(path))
    recipe = RetrainRecipe.load(written(tmp_path, text)).resolved(tiny_task.tiny())
    device = recipe.device()
    assert device is not None
    found = recipe.target(device)
    if reached is not None:
        assert found == reached
    else:
        assert isinstance(found, list)
        assert found[-1] == device.errors(trcd=5.0)


def test_the_values_left_out_are_the_tasks_own() -> None:
    whole = RetrainRecipe.of({}).resolved(digits_task())
    assert (whole.memory.device, whole.memory.trcd, whole.memory.storage) == ("ddr3-b33", 7.5, "int8_sign_magnitude")
    assert (whole.boost.epochs, whole.curriculum.target_ber, whole.calibration_samples) == (120, 1e-2, 1197)
    elsewhere = RetrainRecipe.of({"memory": {"vdd": 1.2}}).resolved(digits_task())
    assert (elsewhere.memory.trcd, elsewhere.memory.vdd) == (None, 1.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "format: found None, allowed is 'eden-recipe'"),
        ('format = "eden-recipe"\nversion = 2', "version: found 2, allowed is 1"),
        ('format = "eden-recipe"\nversion = true', "version: found True, allowed is 1"),
        (HEAD + "[boost\nepochs = 3", r"Expected ']' .* \(at line 3, column 7\); it is truncated or is no TOML file"),
        (HEAD + "[boost", r"Expected ']' .*; it is truncated or is no TOML file"),
        (HEAD + "[bost]", "bost: unknown key; allowed are task, seed, .*memory, .*boost, curriculum"),
        (HEAD + "[boost]\nepoch = 3", "boost.epoch: unknown key; allowed are epochs, learning_rate, batch_size"),
        (HEAD + "[curriculum]\nseed = 3", "curriculum.seed: unknown key; allowed are epochs_per_step, chips"),
        (HEAD + "[curriculum]\nwalk = {trcf = 3}", "curriculum.walk.trcf: unknown key; allowed are trcd, trp, vdd"),
        (
            HEAD + '[boost]\nepochs = "3"',
            r"boost.epochs: Input should be a valid integer \(passes over the training set.\); found '3'",
        ),
        (HEAD + "[boost]\nepochs = 2.0", "boost.epochs: Input should be a valid integer"),
        (
            HEAD + '[memory]\ntrcd = "7.5 ns"',
            r"memory.trcd: Input should be a valid number \(row activation latency in ns\); found '7.5 ns'",
        ),
        (HEAD + "[memory]\npercentile = 50", "memory.percentile: Input should be greater than 50"),
        (HEAD + "[memory]\nstorage = 8", "memory.storage: Input should be a valid string"),
        (HEAD + "seed = 1.5", r"seed: Input should be a valid integer \(a 64-bit integer\); found '1.5'"),
        (HEAD + "checkpoint_every = 0", "checkpoint_every: Input should be greater than or equal to 1"),
        (HEAD + "[curriculum]\nchips = 1.5", "curriculum.chips: .*found '1.5'"),
        (HEAD + "[curriculum]\ntarget_ber = 'low'", r"curriculum.target_ber: .*mean bit error rate.*found 'low'"),
        (HEAD + "boost = 3", "boost: Input should be a valid dictionary"),
    ],
)
def test_mistakes_name_their_place(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FileError) as caught:
        RetrainRecipe.load(path)
    assert re.match(f"{re.escape(os.fspath(path))}: {message}", str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[boost]\nmomentum = 1.0", "boost.momentum is 1.0; allowed is from 0 to below 1"),
        ("[training]\noptimizer = 'lamb'", "training.optimizer is 'lamb'; allowed is sgd, adam, adamw"),
        (
            "[boost]\nclip_weights = {nothing = 1.0}",
            "'nothing' is no Parameter of two or more dimensions; allowed are 0",
        ),
        (
            "[memory]\nstorage = 'float32'\ncorrection = 'none'\n[boost]\nlearn_ranges = true",
            "Network has no input kept as codes",
        ),
        ("[memory]\noperands = 'weights'\n[boost]\nlearn_ranges = true", "Network has no input kept as codes"),
        ("[training]\nclean_loss = 0.5", "training.clean_loss is 0.5; allowed on reliable memory, .* is 0.0"),
        ("[training]\nlearn_ranges = true", "training.learn_ranges is True; allowed on reliable memory, .* is False"),
        ("[boost]\nclip_percentile = 0.999", "boost.clip_percentile is 0.999; allowed is above 50 to 100"),
        ("[curriculum]\nramp = 2.0", "ramp is 2.0; allowed is above 0 to 1"),
        ("[curriculum]\ntarget_ber = {'0.weight' = 1e-3}", "target_ber lacks 0.input, 3.input, 3.weight; give 0"),
        ("[curriculum]\ntarget_ber = 1e-3\nwalk = {trcd = 5}", "curriculum: has target_ber and walk; allowed is one"),
        ("[curriculum]\nwalk = {trcd = 5, vdd = 1}", "found trcd, vdd; allowed is exactly one"),
        ("[curriculum]\ntolerance = 'nowhere.json'", "nowhere.json: cannot be read"),
        ("[memory]\ntrcd = 7.5e-9", r"trcd is 7.5e-09 ns; allowed for .* is [\d.]+ to [\d.]+ ns"),
        ("[memory]\nvdd = 1350", r"vdd is 1350(.0)? V; allowed"),
        ("[memory]\npartition = 'bank9'", "partition is 'bank9'; allowed for ddr3-b33 are bank0"),
        ("[memory]\nstorage = 'int3'", "Faults.storage is 'int3'; allowed are float32"),
        ("[memory]\nerrors = {model = 'uniform'}", "memory.errors: .*ber"),
        ("[memory]\nerrors = {model = 'uniform', ber = 0.0}", "memory.errors: makes no errors"),
        ("[memory]\nerrors = {model = 'uniform', ber = 0.1}\ntrcd = 5", "memory: has errors and trcd; allowed is an"),
    ],
)
def test_what_is_refused_before_anything_is_trained(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eden.app.steps.train", lambda *_, **__: pytest.fail("trained first"))
    recipe = RetrainRecipe.load(written(tmp_path, f"{HEAD}task = '{TASK}'\n{text}"))
    with pytest.raises(ValueError) as caught:
        retrain(recipe, tmp_path / "out", say=quiet)
    assert re.match(message, str(caught.value)), str(caught.value)
    assert not list((tmp_path / "out").glob("*"))


def test_nothing_is_left_to_fail_when_all_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eden.app.steps.train", lambda *_, **__: pytest.fail("trained first"))
    task = tiny_task.tiny()
    plain = nn.Sequential(nn.Linear(tiny_task.FEATURES, 4))
    unread = nn.Sequential(nn.Linear(tiny_task.FEATURES, 4))
    unread[0].spare = nn.Linear(4, 4)
    for model, message in (
        (plain, "reestimate_chips is 2; allowed for Sequential, which has no batch norm with running statistics"),
        (unread, r"0.spare: never called in a forward pass"),
    ):
        made = dataclasses.replace(task, model=lambda model=model: model)
        monkeypatch.setattr("eden.app.retrain.load_task", lambda _, made=made: made)
        with pytest.raises(ValueError, match=message):
            retrain(RetrainRecipe.of({"reestimate_chips": 2}), tmp_path / "out", say=quiet)
        assert not list((tmp_path / "out").glob("*"))


RANDBET = """
format = "eden-recipe"
version = 1

[memory]
errors = { model = "uniform", ber = 1e-2 }
operands = "weights"
storage = "int8"
correction = "none"

[training]
clip_weights = 0.1

[boost]
clip_weights = 0.1
clean_loss = 0.5

[curriculum]
target_ber = 1e-2
epochs_per_step = 1000
"""
"""Errors in the weights alone, as Stutz et al. train."""


def test_recipes_of_the_documentation_are_recipes(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "boost.md").read_text(encoding="utf-8")
    found = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1
    for one in (found[0], RANDBET):
        whole = RetrainRecipe.load(written(tmp_path, one)).resolved(digits_task())
        whole.recipe("boost"), whole.recipe("training"), whole.errors(whole.device())
    task = tiny_task.tiny()
    small = RetrainRecipe.load(written(tmp_path, RANDBET), [("task", TASK), ("boost.epochs", 2)]).resolved(task)
    model = retrain(small, tmp_path / "out", say=quiet)
    assert {info.kind for info in eden.operands(model).values()} == {"weight"}
    assert float(model[0].weight.detach().abs().max()) == pytest.approx(0.1)


def test_a_trained_network_is_not_trained_again() -> None:
    import dataclasses

    task = dataclasses.replace(digits_task(), train=None)
    with pytest.raises(ValueError, match=r"training: .* brings a trained network; allowed is no such table"):
        RetrainRecipe.of({"training": {"epochs": 3}}).resolved(task)
    assert RetrainRecipe.of({}).resolved(task).training.epochs is None


def test_overrides_take_the_place_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, EVERYTHING)
    texts = ("boost.epochs=9", "curriculum.chips=one", "memory.storage = int8", 'curriculum.target_ber={"0.weight"=1}')
    recipe = RetrainRecipe.load(path, [setting(text) for text in texts])
    assert (recipe.boost.epochs, recipe.curriculum.chips, recipe.memory.storage) == (9, "one", "int8")
    assert recipe.curriculum.target_ber == {"0.weight": 1.0}
    assert recipe.boost.optimizer == "adamw"
    with pytest.raises(FileError, match=r"^command line: boost.epochs: Input should be a valid integer .*found 'many'"):
        RetrainRecipe.load(path, [setting("boost.epochs=many")])
    with pytest.raises(FileError, match=r"^command line: boost.speed: unknown key; allowed are epochs"):
        RetrainRecipe.load(path, [setting("boost.speed=3")])
    with pytest.raises(FileError, match=r"^command line: seed.x: seed is no table"):
        RetrainRecipe.load(path, [setting("seed.x=3")])
    for text in ("boost.epochs", "=3", "boost..epochs=3"):
        with pytest.raises(ValueError, match=r"allowed is key=value, such as boost.epochs=3"):
            setting(text)


def test_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, EVERYTHING)

    def ran(*arguments: object) -> subprocess.CompletedProcess[str]:
        return processes.run("-m", "eden.app.cli", "retrain", *arguments, environment={"OMP_NUM_THREADS": "1"})

    found = ran(path, "--out", tmp_path / "out", "--set", "boost.epochs=2", "--epochs", 5, "--set", "training.epochs=1")
    assert found.returncode == 0, found.stderr
    whole = RetrainRecipe.load(tmp_path / "out" / NAME)
    assert (whole.boost.epochs, whole.training.epochs, whole.seed) == (2, 1, 3), "the last setting counts"
    found = ran(path, "--out", tmp_path / "out", "--set", "boost.epochs=two")
    assert (found.returncode, found.stdout) == (1, "")
    assert re.fullmatch(r"eden: command line: boost.epochs: .*; found 'two'\n", found.stderr)


def test_under_torchrun_the_ranks_train_together(tmp_path: Path) -> None:
    path = written(tmp_path, EVERYTHING)
    found = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"),
            *("-m", "eden.app.cli", "retrain", os.fspath(path), "--out", os.fspath(tmp_path / "out")),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr[-4000:]
    assert [line.partition(":")[0] for line in found.stdout.splitlines()] == ["before", "after", "written"]
    eden.load_(tiny_task.network(), tmp_path / "out" / "boosted.safetensors")


def test_a_loss_that_diverges_leaves_the_run_resumable(tmp_path: Path) -> None:
    recipe = RetrainRecipe.load(written(tmp_path, EVERYTHING), [("boost.learning_rate", 1e30)])
    with pytest.raises(TrainingError, match=r"^the loss is \w+ in epoch 0, step \d+ at BER [\d.e-]+, first met in "):
        retrain(recipe, tmp_path / "out", say=quiet)
    assert (tmp_path / "out" / "train.safetensors").is_file()


def test_the_schema_takes_what_loading_takes(tmp_path: Path) -> None:
    schema = RetrainRecipe.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(tomllib.loads(EVERYTHING))
    for wrong in ({"boost": {"epoch": 3}}, {"seed": "1"}, {"memory": {"trcd": "7.5 ns"}}, {"bost": {}}):
        assert not validator.is_valid({**tomllib.loads(HEAD), **wrong})
    text = json.dumps(schema)
    assert "row activation latency in ns" in text
    assert "share of the iterations" in text, "what the class says of its arguments"


@pytest.mark.parametrize(("named", "correction"), [({}, "clamp"), ({"correction": "none"}, "none")])
def test_storages_of_secded_clamp_if_nothing_is_said(named: dict[str, str], correction: str) -> None:
    recipe = RetrainRecipe.of({"memory": {"storage": "int8_secded", **named}})
    assert recipe.resolved(tiny_task.tiny()).memory.correction == correction
