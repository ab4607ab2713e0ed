"""The command line as a user meets it: exit codes, messages, what is imported when."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgmdsl.cli import main as cli

EXAMPLES = Path(__file__).parent.parent / "examples"
GOOD = "model M(D = 3, F = 2)\n\nvisible v : binary[D]\nhidden  h : binary[F]\n\nv -- h : W\n"


def run_pgmc(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run `pgmc` in this process: exit code, stdout, stderr."""
    old = sys.argv
    sys.argv = ["pgmc", *arguments]
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        sys.argv = old
    out, err = capsys.readouterr()
    code = stop.value.code
    assert isinstance(code, int)
    return code, out, err


def loaded_after(*arguments: str) -> set[str]:
    """The top-level modules that a fresh `pgmc` process has imported when it ends."""
    program = (
        "import sys, atexit\n"
        f"sys.argv = {['pgmc', *arguments]!r}\n"
        "atexit.register(lambda: print('LOADED', *sorted({m.partition('.')[0] for m in sys.modules})))\n"
        "from pgmdsl.cli.main import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return set(done.stdout.rpartition("LOADED")[2].split())


HEAVY = {"numpy", "scipy", "numba", "sympy", "networkx", "matplotlib", "safetensors", "lark"}


def test_help_imports_nothing_heavy() -> None:
    assert not loaded_after("--help") & (HEAVY | {"rich"})


def test_check_imports_lark_only() -> None:
    assert loaded_after("check", str(EXAMPLES / "dbm.ebm")) & HEAVY <= {"lark"}


def test_every_command_has_help() -> None:
    for name in cli.COMMANDS:
        result: Result = CliRunner().invoke(cli.pgmc, [name, "--help"])
        assert result.exit_code == 0, name
        assert "Usage" in result.output


def test_check_of_a_sound_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.ebm"
    file.write_text(GOOD)
    code, out, err = run_pgmc(capsys, "check", str(file))
    assert (code, err) == (0, "")
    assert "model M is sound: 2 layers, 1 edge, 0 checks" in out


def test_check_reports_every_mistake_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.ebm"
    file.write_text(GOOD.replace("binary[F]", "binray[F]").replace("-- h : W", "-- g : W"))
    code, _, err = run_pgmc(capsys, "check", str(file))
    assert code == 2
    assert len(re.findall(r"^error\[E\d{3}\]", err, re.M)) == 2
    assert f"--> {file}:4:" in err
    assert f"--> {file}:6:" in err
    assert "did you mean binary?" in err
    code, out, _ = run_pgmc(capsys, "check", "--json", str(file))
    answer = json.loads(out)
    assert (code, answer["ok"], len(answer["diagnostics"])) == (2, False, 2)
    assert {d["line"] for d in answer["diagnostics"]} == {4, 6}


@pytest.mark.parametrize("verb", ["check", "fmt", "derive", "verify", "graph", "compile", "train"])
def test_a_missing_file_is_a_sentence(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_pgmc(capsys, verb, str(tmp_path / "nowhere.ebm"))
    assert code == 2
    assert "nowhere.ebm" in err
    assert "Traceback" not in out + err


def test_an_unknown_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_pgmc(capsys, "trian", "x.ebm")
    assert code == 2
    assert "did you mean train?" in err


def test_fmt_check_and_fmt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.ebm"
    file.write_text("model M(D=3,F=2)\nvisible v:binary[D]# pixels\nhidden h:binary[F]\nv--h:W\n")
    before = file.read_text()
    assert run_pgmc(capsys, "fmt", "--check", str(file))[0] == 1
    assert file.read_text() == before
    assert run_pgmc(capsys, "fmt", str(file))[0] == 0
    assert "# pixels" in file.read_text()
    assert run_pgmc(capsys, "fmt", "--check", str(file))[0] == 0


def test_verify_says_no_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.ebm"
    right = 'check "eq": p(h[j] = 1 | v) == sigmoid(b_h[j] + sum(W[i,j]*v[i] for i))\n'
    file.write_text(GOOD + right)
    code, out, _ = run_pgmc(capsys, "verify", str(file))
    assert (code, "proved" in out) == (0, True)
    file.write_text(GOOD + right.replace("b_h[j] + ", ""))
    code, out, _ = run_pgmc(capsys, "verify", "--json", str(file))
    answer = json.loads(out)
    assert code == 1
    assert answer["checks"][0]["status"] == "refuted"


def test_every_stage_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.ebm"
    file.write_text(GOOD)
    for stage in ("syntax", "model", "derivation", "plan", "kernels"):
        code, out, _ = run_pgmc(capsys, "compile", "--emit", stage, str(file))
        assert code == 0
        assert len(out) > 100
    assert run_pgmc(capsys, "compile", "--emit", "soup", str(file))[0] == 2


def test_compile_writes_kernels_that_python_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.ebm"
    file.write_text(GOOD)
    code, out, _ = run_pgmc(capsys, "compile", str(file), "-o", str(tmp_path / "out"))
    assert code == 0
    kernels = next(p for p in map(Path, out.split()) if p.suffix == ".py")
    compile(kernels.read_text(), str(kernels), "exec")
    again = run_pgmc(capsys, "compile", str(file), "-o", str(tmp_path / "out"))
    assert again[1] == out


def test_check_takes_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.ebm", tmp_path / "bad.ebm"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("binary[F]", "binary[G]"))
    code, out, err = run_pgmc(capsys, "check", str(good), str(bad), str(tmp_path / "none.ebm"))
    assert code == 2
    assert "good.ebm: model M is sound" in out
    assert "bad.ebm:4:" in err
    assert "none.ebm" in err


def test_a_full_disk_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.ebm"
    file.write_text(GOOD)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "picture.svg")

    monkeypatch.setattr("pgmdsl.compiler.picture.model_dot", full)
    code, out, err = run_pgmc(capsys, "graph", "--dot", str(file))
    assert code == 2
    assert "picture.svg: No space left on device" in err
    assert "Traceback" not in out + err


def test_emit_writes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.ebm"
    file.write_text(GOOD)
    assert run_pgmc(capsys, "compile", "--emit", "kernels", str(file), "-o", str(tmp_path / "k.py")) == (0, "", "")
    compile((tmp_path / "k.py").read_text(), "k.py", "exec")


def test_train_then_use_then_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verbs on one small run: each does its work and says where it is."""
    monkeypatch.chdir(tmp_path)
    Path("m.ebm").write_text(GOOD + "train { fit { epochs = 3 } }\n")
    Path("v.csv").write_text("".join(f"{i % 2},{i // 2 % 2},1\n" for i in range(40)))
    code, out, err = run_pgmc(capsys, "train", "m.ebm", "--data", "v=v.csv", "--valid", "0.1")
    assert code == 0, err
    assert "log Z" in out
    assert "(exact" in out
    assert "run      runs/m" in out
    assert run_pgmc(capsys, "train", "m.ebm", "--data", "v=v.csv", "--no-eval")[1].startswith("run      runs/m-2")
    answer = json.loads(run_pgmc(capsys, "eval", "runs/m", "--json")[1])
    assert answer["log_partition"]["method"] == "exact"
    assert answer["figures"][0]["side"] == "exact"
    for verb, file in (("sample", "samples.npz"), ("infer", "inferred.npz"), ("reconstruct", "reconstructed.npz")):
        assert run_pgmc(capsys, verb, "runs/m")[0] == 0
        assert (tmp_path / "runs" / "m" / file).exists()
    code, out, err = run_pgmc(capsys, "resume", "runs/m", "--no-eval")
    assert code == 0
    assert "has finished already" in err
    assert run_pgmc(capsys, "train", "m.ebm", "--data", "v=v.csv", "-o", "runs/m")[0] == 2


def test_ctrl_c_after_training_says_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.ebm").write_text(GOOD + "train { fit { epochs = 1 } }\n")
    Path("v.csv").write_text("0,1,1\n1,0,1\n" * 10)

    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pgmdsl.run.Run.draw_pictures", pressed)
    code, _, err = run_pgmc(capsys, "train", "m.ebm", "--data", "v=v.csv")
    assert code == 130
    assert "pgmc eval runs/m and pgmc plot runs/m do the rest" in err


BELIEF = "model SBN(D = 4, F = 3)\nvisible v : binary[D]\nhidden  h : binary[F]\nh -> v : W\nv ~> h : R\n"


def test_models_of_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kinds of edges are said, the parts have their files of kernels, and the layout is canonical."""
    file, folder = tmp_path / "sbn.ebm", tmp_path / "out"
    file.write_text(BELIEF)
    edges = [
        {"kind": "directed", "layers": ["v", "h"], "weight": "W"},
        {"kind": "recognition", "layers": ["v", "h"], "weight": "R"},
    ]
    for verb in ("check", "graph", "derive"):
        code, out, _ = run_pgmc(capsys, verb, "--json", str(file))
        assert (code, json.loads(out)["edges"]) == (0, edges)
    code, out, _ = run_pgmc(capsys, "check", str(file))
    assert "2 layers, 2 edges" in out
    assert run_pgmc(capsys, "graph", "--json", "--dot", str(file))[0] == 2
    assert run_pgmc(capsys, "fmt", "--check", str(file))[0] == 0
    code, out, _ = run_pgmc(capsys, "compile", str(file), "-o", str(folder))
    kernels = sorted(path.stem.split("_", 2)[2] for path in folder.glob("sbn_*.py"))
    assert (code, kernels) == (0, ["stack", "upward"])
