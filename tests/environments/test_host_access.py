"""A build gets this machine's way to package indexes, and only what a container can use."""

from pathlib import Path

from harness.environments.host_access import FOLDER, debian_mirror, host_access


def test_user_settings_and_variables_override_in_pips_order(tmp_path: Path) -> None:
    user = tmp_path / ".config" / "pip" / "pip.conf"
    user.parent.mkdir(parents=True)
    user.write_text(
        "[global]\nindex-url = https://user.invalid/simple\ntimeout = 7\n"
        "extra-index-url = https://extra.invalid/simple\n file:///srv/wheels\n"
    )
    access = host_access({"PIP_INDEX_URL": "https://variable.invalid/simple"}, tmp_path)
    config = access.files["pip.conf"].decode().splitlines()
    assert "index-url = https://variable.invalid/simple" in config
    assert "extra-index-url = https://extra.invalid/simple" in config
    assert "timeout = 7" in config
    assert access.env["PIP_CONFIG_FILE"] == f"{FOLDER}/pip.conf"


def test_certificates_and_proxies_reach_the_container(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("a certificate")
    environ = {"SSL_CERT_FILE": str(bundle), "https_proxy": "http://proxy.invalid:3128"}
    access = host_access(environ, tmp_path)
    assert access.files["certificates.pem"] == b"a certificate"
    assert access.env["PIP_CERT"] == access.env["SSL_CERT_FILE"] == f"{FOLDER}/certificates.pem"
    assert access.env["https_proxy"] == "http://proxy.invalid:3128"


def test_no_other_variable_of_this_machine_is_passed_on(tmp_path: Path) -> None:
    access = host_access({"API_KEY": "secret", "HOME": "/home/me"}, tmp_path)
    assert not {"API_KEY", "HOME"} & set(access.env)


def test_the_debian_mirror_can_be_chosen() -> None:
    assert debian_mirror({}) is None
    assert debian_mirror({"HARNESS_DEBIAN_MIRROR": "http://here/debian/"}) == "http://here/debian"
