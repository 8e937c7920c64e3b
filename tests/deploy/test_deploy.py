"""What lies in `deploy/` is what the programs that read it take, and sets what chatd knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

import chatd
from chatd.config import Settings, load_settings

REPOSITORY = Path(chatd.__file__).parents[1]
DEPLOY = REPOSITORY / "deploy"
KUBERNETES = "1.30"  # the oldest whose schema the manifests are held against
EXPOSURE = "20"  # tenths, of systemd's own scale: 0 is closed, 10 open
SECRET = "0123456789abcdef" * 4
Json = dict[str, Any]


def run(*command: object) -> str:
    """Run a program that must be there and must be content; return what it says."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def taken_by_chatd(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    """Return the settings that a daemon with this environment has."""
    for name in [name for name in os.environ if name.startswith("CHATD_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        if name.startswith("CHATD_"):
            monkeypatch.setenv(name, value)
    return load_settings(None)


def env_file(name: str) -> dict[str, str]:
    """Return what an example sets when it is filled in."""
    lines = (DEPLOY / name).read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {key: value + SECRET if value in {"", "k1:"} else value for key, _, value in pairs}


def compose() -> Json:
    """Return the compose file as Docker would read it, with the example filled in."""
    text = (DEPLOY / "compose.yaml").read_text()
    values = env_file("compose.env.example")
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: values[found[1]], text)
    assert "${" not in text
    content: Json = yaml.safe_load(text)  # with its merge keys resolved
    # Refuses a key or a value that the specification lacks.
    PyCompose.from_yaml(yaml.safe_dump(content)).to_spec()
    return content


def manifests() -> list[Json]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def manifest(kind: str) -> Json:
    [found] = [each for each in manifests() if each["kind"] == kind]
    return found


def test_every_variable_in_deploy_is_a_setting() -> None:
    known = {f"CHATD_{name.upper()}" for name in Settings.model_fields} | {"CHATD_CONFIG"}
    named = {
        (path.name, name)
        for path in DEPLOY.rglob("*")
        if path.is_file()
        for name in re.findall(r"\bCHATD_[A-Z0-9_]+", path.read_text())
    }
    assert len(named) > 20
    assert [each for each in sorted(named) if each[1] not in known] == []


# Docker


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    assert run(Path(sys.executable).with_name("hadolint"), DEPLOY / "Dockerfile") == ""


def test_a_command_of_a_platform_takes_the_place_of_all_of_ours() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "\nENTRYPOINT" not in text  # fly.toml has a shell of its own around it
    assert text.endswith('CMD ["chatd", "serve"]\n')


def test_what_the_image_is_built_of_gets_through_the_ignore_file() -> None:
    let_in = {
        line.removeprefix("!").removesuffix("/**")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = set(re.findall(r"requirements[\w-]*\.lock", (DEPLOY / "Dockerfile").read_text()))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*copied, *wheel["packages"], *wheel["force-include"], project["project"]["readme"]}
    needed |= {*project["project"]["license-files"], "web", "hatch_build.py", "pyproject.toml"}
    assert let_in == needed
    assert [name for name in sorted(let_in) if not (REPOSITORY / name).exists()] == []


def test_the_compose_file_names_only_what_it_has() -> None:
    content = compose()
    services, volumes = content["services"], content["volumes"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert service["restart"] == "unless-stopped"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in volumes
    waited_for = {
        name
        for service in services.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }
    assert waited_for == {"postgres", "redis"}
    assert [name for name in waited_for if "healthcheck" not in services[name]] == []


def test_the_daemons_of_the_compose_file_start_and_are_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = compose()["services"]
    found = [
        taken_by_chatd(monkeypatch, env_file("compose.env.example") | services[name]["environment"])
        for name in ("chatd-1", "chatd-2")
    ]
    first, second = found
    assert first.node_url == "http://chatd-1:8000"
    assert second.node_url == "http://chatd-2:8000"
    assert first.signing_keys
    shared = {"signing_keys", "database_url", "database_replica_url", "redis_url"}
    assert first.model_dump(include=shared) == second.model_dump(include=shared)
    grace = int(services["chatd-1"]["stop_grace_period"].removesuffix("s"))
    assert grace > first.drain_seconds + first.commit_drain_seconds


@pytest.mark.parametrize("script", sorted(path.name for path in DEPLOY.glob("postgres/*.sh")))
def test_a_script_of_postgresql_is_one(script: str) -> None:
    run("bash", "-n", DEPLOY / "postgres" / script)


# Proxies


def test_haproxy_takes_its_configuration() -> None:
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "HAProxy is not installed"
    assert "Configuration file is valid" in run(program, "-c", "-f", DEPLOY / "haproxy.cfg")


def test_haproxy_knows_the_daemons_of_the_compose_file() -> None:
    servers = re.findall(
        r"^    server (\S+) (\S+):8000$", (DEPLOY / "haproxy.cfg").read_text(), re.MULTILINE
    )
    daemons = {name for name in compose()["services"] if name.startswith("chatd-")}
    assert {name for name, _ in servers} == {host for _, host in servers} == daemons


# systemd


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with a program that there is on this machine."""
    path = tmp_path / "chatd.service"
    text = (DEPLOY / "chatd.service").read_text()
    program = Path(sys.executable).with_name("chatd")
    assert "ExecStart=/opt/chatd/bin/chatd serve" in text
    path.write_text(text.replace("/opt/chatd/bin/chatd serve", f"{program} serve"))
    return path


def test_systemd_takes_the_unit(unit: Path) -> None:
    assert "chatd.service" not in run("systemd-analyze", "verify", "--man=no", unit)


def test_systemd_finds_little_that_the_unit_leaves_open(unit: Path) -> None:
    run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit)


def test_the_unit_leaves_time_for_the_drain_and_its_example_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = taken_by_chatd(monkeypatch, env_file("chatd.env.example"))
    [seconds] = re.findall(
        r"^TimeoutStopSec=([0-9]+)$", (DEPLOY / "chatd.service").read_text(), re.MULTILINE
    )
    assert int(seconds) > settings.drain_seconds + settings.commit_drain_seconds
    assert settings.data_dir == Path("/var/lib/chatd")


# Kubernetes


@pytest.mark.parametrize("version", [KUBERNETES, kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_manifests(version: str) -> None:
    for each in manifests():
        kubernetes_validate.validate(each, version, strict=True)


def test_a_daemon_on_kubernetes_starts_and_has_time_for_its_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    environment = manifest("ConfigMap")["data"] | manifest("Secret")["stringData"]
    address = {"POD_IP": "10.0.0.7"}
    for variable in container["env"]:
        if "value" in variable:
            value = re.sub(r"\$\((\w+)\)", lambda found: address[found[1]], variable["value"])
            environment[variable["name"]] = value
    settings = taken_by_chatd(monkeypatch, environment)
    assert settings.node_url == "http://10.0.0.7:8000"
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = pause + settings.drain_seconds + settings.commit_drain_seconds
    assert pod["terminationGracePeriodSeconds"] > needed


def test_a_pod_is_as_restricted_as_kubernetes_asks_for() -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    closed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
    assert container["securityContext"] == closed | {"capabilities": {"drop": ["ALL"]}}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


# Platforms


def test_a_daemon_on_fly_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    content = tomllib.loads((DEPLOY / "fly.toml").read_text())
    secrets = {
        "CHATD_SIGNING_KEYS": f"k1:{SECRET}",
        "CHATD_REDIS_URL": "redis://:secret@redis.internal:6379/0",
        "CHATD_S3_ACCESS_KEY_ID": "id",
        "CHATD_S3_SECRET_ACCESS_KEY": SECRET,
    }
    [url] = re.findall(r'CHATD_NODE_URL="([^"]+)"', content["processes"]["app"])
    secrets["CHATD_NODE_URL"] = url.replace("$FLY_PRIVATE_IP", "fdaa:0:1::2")
    settings = taken_by_chatd(monkeypatch, content["env"] | secrets)
    assert settings.port == content["http_service"]["internal_port"]
    assert settings.node_url == f"http://[fdaa:0:1::2]:{settings.node_port}"
    kill = int(content["kill_timeout"].removesuffix("s"))
    assert kill > settings.drain_seconds + settings.commit_drain_seconds


def test_a_daemon_on_render_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load((DEPLOY / "render.yaml").read_text())
    chat, redis = content["services"]
    assert (REPOSITORY / chat["dockerfilePath"]).samefile(DEPLOY / "Dockerfile")
    named = {variable["key"]: variable for variable in chat["envVars"]}
    assert named["CHATD_REDIS_URL"]["fromService"]["name"] == redis["name"]
    assert named["CHATD_DATABASE_URL"]["fromDatabase"]["name"] == content["databases"][0]["name"]
    given = {
        "CHATD_DATABASE_URL": "postgresql://chatd:secret@db/chatd",
        "CHATD_REDIS_URL": "redis://red-1:6379",
        "CHATD_SIGNING_KEYS": f"k1:{SECRET}",
    }
    environment = {key: each.get("value", given.get(key, "x")) for key, each in named.items()}
    settings = taken_by_chatd(monkeypatch, environment)
    assert str(settings.port) == named["PORT"]["value"]
    grace = chat["maxShutdownDelaySeconds"]
    assert grace > settings.drain_seconds + settings.commit_drain_seconds
