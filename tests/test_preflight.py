"""Preflight names what would stop a training. What it compiles (step, memory) is the code of the learner and of plan, tested there."""

import http.server
import threading

import pytest

from recoder_jax import preflight
from recoder_jax.configuration import load

RL = "configs/tiny/stage1_shared_first_turn.py"
JUDGED = ["--config.reward.alpha=0.5", "--config.reward.beta=0.3"]


def lines(capsys, arguments):
    code = preflight.main(arguments)
    said = capsys.readouterr()
    return code, {line[5:15].strip(): (line[:5].strip(), line[15:]) for line in said.out.splitlines()}, said.err


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.headers["Authorization"] == "Bearer sk-right" else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_without_a_config_it_looks_at_the_machine(capsys, tmp_path):
    code, found, _ = lines(capsys, [f"--workdir={tmp_path}"])
    assert list(found) == ["versions", "extras", "devices", "sandbox", "disk"]
    assert code == 0 and found["sandbox"][0] == found["devices"][0] == "ok"


def test_a_language_whose_program_the_machine_lacks_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "programs in latex are rendered by pdflatex, which is not on PATH; run `apt-get install texlive-latex-base" in preflight.missing_extras()


def test_everything_that_is_missing_has_a_line_of_its_own(capsys, world, tmp_path):
    """Three at once, and a mesh for which there are no devices, after which nothing is compiled."""
    broken = ["--config.data.dir=/nowhere", f"--config.init={tmp_path}", *JUDGED, "--config.judge.base_url=http://127.0.0.1:9/v1", "--config.mesh.fsdp=3",
              "--config.mirror=nowhere://bucket",
              "--config.batch.rows=3", "--config.batch.size=3"]
    code, found, _ = lines(capsys, [f"--config={RL}", f"--workdir={tmp_path}", *broken])
    assert code == 1 and {name for name, (verdict, _) in found.items() if verdict == "FAIL"} == {"data", "init", "judge", "mirror", "mesh"}
    assert "fsspec does not know" in found["mirror"][1]
    assert "prepare" in found["data"][1] and "launch/judge.sh" in found["judge"][1] and "convert import" in found["init"][1]
    assert list(found)[-1] == "mesh"


@pytest.mark.parametrize(
    ("platform", "nodes", "told", "words"),
    [("cpu", ["/dev/nvidia0"], "", r"install -e .\[cuda\]"), ("cpu", ["/dev/vfio/0"], "", r"install -e .\[tpu\]"), ("cpu", ["/dev/accel0"], "cpu", "unset it")],
)
def test_an_accelerator_that_jax_passes_over_is_named(platform, nodes, told, words):
    with pytest.raises(ValueError, match=words):
        preflight.check_used(platform, nodes, told)
    preflight.check_used("gpu", nodes, told)
    preflight.check_used(platform, [], told)


def test_a_config_that_cannot_be_read_is_bad_input(capsys):
    code, found, said = lines(capsys, [f"--config={RL}", "--config.rollout.group=1"])
    assert code == 2 and not found and "rollout.group is 1" in said
    assert lines(capsys, ["--config.steps=1"])[0] == 2


def test_a_judge_that_wants_a_key_says_so_and_the_key_is_not_shown(address, monkeypatch):
    for key, word in (("", "set JUDGE_KEY to its key"), ("sk-wrong", "set JUDGE_KEY to its key")):
        monkeypatch.setenv("JUDGE_KEY", key)
        verdict = preflight.looked("judge", lambda: preflight.judge(address, "JUDGE_KEY"))
        assert not verdict.good and word in verdict.said and "sk-" not in verdict.line()
    monkeypatch.setenv("JUDGE_KEY", "sk-right")
    assert preflight.judge(address, "JUDGE_KEY") == f"{address} answers"


def test_data_and_disk_are_looked_at(world, tmp_path):
    config = load(RL, [f"--config.data.dir={world}"])
    assert preflight.data(config) == f"24 of chart_world, split train, in {world}"
    assert "GiB free" in preflight.disk(str(tmp_path / "not" / "yet"), 1)
    with pytest.raises(ValueError, match="checkpoint.keep"):
        preflight.disk(str(tmp_path), 1 << 60)
