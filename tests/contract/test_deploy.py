"""Deployment files as far as they can be judged without what they deploy to."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cempstream.streams.cli import VERBS
from cempstream.streams.commands.exposures import _PORT as EXPOSURES_PORT
from cempstream.streams.commands.stars import _PORT as STARS_PORT
from cempstream.streams.rehearsal.prometheus_server import EVALUATION_S, SCRAPE_S
from cempstream.streams.settings import Settings
from cempstream.streams.telemetry.watchdog import START_S
from cempstream.streams.worker.faust_app import STOP_DEADLINE_S
from cempstream.streams.worker.progress import STALL_S
from tests.contract.monitoring import DEPLOY, rules

COMPOSE = DEPLOY / "compose" / "compose.yaml"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))

ALERTS = {rule["alert"] for rule in rules() if "alert" in rule}


def load_compose(name: str = "compose.yaml") -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / name).read_text())["services"]
    return services


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Return every object by its kind and name."""
    objects = [o for path in MANIFESTS for o in yaml.safe_load_all(path.read_text())]
    found = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    assert len(found) == len(objects)
    return found


def environments() -> Iterator[dict[str, str]]:
    for name in ("compose.yaml", "compose.gpu.yaml"):
        for service in load_compose(name).values():
            yield service.get("environment", {})
    for (kind, _), o in manifests().items():
        if kind == "ConfigMap":
            yield o["data"]
        if kind == "Deployment":
            (container,) = o["spec"]["template"]["spec"]["containers"]
            yield {entry["name"]: entry["value"] for entry in container["env"]}


def test_settings_in_deployments_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    n_read = 0
    for environment in environments():
        ours = {name: value for name, value in environment.items() if name.startswith("CEMP_")}
        with monkeypatch.context() as patch:
            for name, value in ours.items():
                patch.setenv(name, value)
            Settings()  # a misspelt field is an error
        for name in ours:
            group, field = name.removeprefix("CEMP_").lower().split("__")
            assert field in type(getattr(Settings(), group)).model_fields, name
            n_read += 1
    assert n_read > 10


def test_services_run_commands_that_exist() -> None:
    services = load_compose()
    ours = {name: s for name, s in services.items() if str(s.get("image", "")).startswith("cempstream")}
    assert set(ours) == {"topics", "worker", "exposures", "stars", "feed"}
    for service in ours.values():
        assert service["command"][0] in VERBS
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (COMPOSE.parent / source).exists(), source
        if name not in ours:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), f"{name} is not pinned"
    assert set(load_compose("compose.gpu.yaml")) <= set(services)


def test_what_compose_calls_healthy_is_what_it_restarts() -> None:
    """Nothing restarts the unhealthy: these end by themselves, and Compose starts them again."""
    services, image = load_compose(), (DEPLOY / "Dockerfile").read_text()
    ports = {"worker": Settings().metrics.port, "exposures": EXPOSURES_PORT, "stars": STARS_PORT}
    for name, port in ports.items():
        assert services[name]["restart"] == "unless-stopped"
        check = " ".join(map(str, services[name].get("healthcheck", {}).get("test", [image])))
        assert f"http://127.0.0.1:{port}/live" in check


def test_prometheus_scrapes_the_worker_of_compose() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    ports = {
        "cempstream": Settings().metrics.port,
        "cempstream-exposures": EXPOSURES_PORT,
        "cempstream-stars": STARS_PORT,
    }
    for name, port in ports.items():
        job = next(job for job in config["scrape_configs"] if job["job_name"] == name)
        (found,) = job["dns_sd_configs"]
        assert set(found["names"]) <= set(load_compose())
        assert found["port"] == port
    jobs = set(re.findall(r'job="([^"]+)"', " ".join(rule["expr"] for rule in rules())))
    assert jobs == set(ports), "as Kubernetes' pods are labelled, too"
    labels = {
        o["metadata"]["labels"]["app.kubernetes.io/name"]
        for (k, _), o in manifests().items()
        if k == "Deployment"
    }
    assert labels == jobs


def test_a_night_on_one_machine_is_watched_as_the_deployed_one() -> None:
    shipped, local = (
        yaml.safe_load((DEPLOY / "prometheus" / name).read_text()) for name in ("prometheus.yml", "local.yml")
    )
    assert shipped["global"]["scrape_interval"] == f"{SCRAPE_S}s"
    assert shipped["global"]["evaluation_interval"] == f"{EVALUATION_S}s"
    assert local["global"] == shipped["global"]
    assert local["rule_files"] == shipped["rule_files"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in local["scrape_configs"]}
    assert targets == {
        "cempstream": [f"127.0.0.1:{Settings().metrics.port}"],
        "cempstream-exposures": [f"127.0.0.1:{EXPOSURES_PORT}"],
        "cempstream-stars": [f"127.0.0.1:{STARS_PORT}"],
    }


def test_grafana_finds_its_boards() -> None:
    grafana = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((grafana / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["uid"] == "prometheus"  # as the panels name it
    (provider,) = yaml.safe_load((grafana / "dashboards" / "cempstream.yaml").read_text())["providers"]
    mounted = {volume.split(":")[1] for volume in load_compose()["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounted


def test_alertmanager_names_alerts_and_receivers_that_exist() -> None:
    config = yaml.safe_load((DEPLOY / "compose" / "alertmanager.yml").read_text())
    receivers = {receiver["name"] for receiver in config["receivers"]}
    routes = [config["route"], *config["route"]["routes"]]
    assert {route["receiver"] for route in routes} <= receivers
    matchers = [m for route in routes for m in route.get("matchers", [])]
    for rule in config["inhibit_rules"]:
        matchers += rule["source_matchers"] + rule["target_matchers"]
    named = {name for m in matchers for name in re.findall(r"Cemp\w+", m)}
    assert len(named) > 5
    assert named <= ALERTS
    muted = {name for route in routes for name in route.get("mute_time_intervals", [])}
    assert muted == {interval["name"] for interval in config["time_intervals"]}


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("cempstream-worker", Settings().metrics.port),
        ("cempstream-exposures", EXPOSURES_PORT),
        ("cempstream-stars", STARS_PORT),
    ],
)
def test_kubernetes_objects_refer_to_each_other(name: str, port: int) -> None:
    objects = manifests()
    deployment = objects["Deployment", name]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    policy = objects["NetworkPolicy", name]["spec"]
    monitor = objects["PodMonitor", labels["app.kubernetes.io/name"]]["spec"]
    for selector in (deployment["spec"]["selector"], policy["podSelector"], monitor["selector"]):
        assert selector["matchLabels"].items() <= labels.items()
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][0] in VERBS
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    (exposed,) = container["ports"]
    assert exposed["containerPort"] == port
    assert policy["ingress"][0]["ports"] == [{"port": port}]
    assert ("ConfigMap", container["envFrom"][0]["configMapRef"]["name"]) in objects
    (secret,) = [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v]
    assert f"kubectl create secret generic {secret} " in (DEPLOY / "README.md").read_text()
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_applying_the_manifests_never_replaces_a_secret() -> None:
    assert "Secret" not in {kind for kind, _ in manifests()}
    for environment in environments():
        assert "CEMP_KAFKA__PASSWORD" not in environment


def test_workers_are_scaled_within_their_partitions() -> None:
    objects = manifests()
    scaled = objects["ScaledObject", "cempstream-worker"]["spec"]
    assert ("Deployment", scaled["scaleTargetRef"]["name"]) in objects
    assert scaled["maxReplicaCount"] <= 8  # partitions that `topics create` makes


@pytest.mark.parametrize("command", ["worker", "exposures watch", "stars run"])
def test_service_is_restarted_after_a_failure(command: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    name = command.partition(" ")[0]
    unit.read_string((DEPLOY / "systemd" / f"cempstream-{name}.service").read_text())
    service = unit["Service"]
    assert service["Restart"] == "on-failure"
    assert service["ExecStart"].endswith(f"cempstream {command}")
    # ended from outside too, and not before it would end itself
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert float(service["WatchdogSec"]) > STALL_S + STOP_DEADLINE_S
    assert float(service["TimeoutStartSec"]) >= START_S
    assert float(service["TimeoutStopSec"]) > 25  # what a worker may take to end


def test_image_does_not_run_as_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users
    assert users[-1].split(":")[0] not in ("0", "root")
    assert 'ENTRYPOINT ["cempstream"]' in lines
    assert "ARG PROVIDER=cpu" in lines
