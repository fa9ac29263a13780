"""A file that the control plane watches: edits in place, by rename, by symbolic link; bad ones, missing ones, pinned ones."""
import os
import signal

import pytest
import yaml

from planes import site_of, wait_until


def endpoints(site):
    """Those of the cluster; None when there is no cluster."""
    shown = site.headgate("show", "cluster/web")
    return yaml.safe_load(shown.out)["endpoints"] if shown.code == 0 else None


def wait_endpoint(site, endpoint):
    wait_until(f"{endpoint} is served", lambda: endpoints(site) == [endpoint])


def rename_over(path, content):
    """As editors save."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text(content)
    fresh.rename(path)


def text_of(endpoint):
    return yaml.safe_dump(site_of(endpoint))


def failing(site):
    return [p for p in site.status()["problems"] if "is not what is served" in p["message"]]


@pytest.fixture
def watched(folders):
    """(site, path) with version 1 served from the file."""
    path = folders.write("etc/gateway.yaml", text_of("127.0.0.1:1"))
    folders.start_control_plane("--config", path)
    wait_endpoint(folders, "127.0.0.1:1")
    return folders, path


def test_edits(watched):
    site, path = watched
    assert site.status()["watched_file"] == str(path)
    path.write_text(text_of("127.0.0.1:2"))
    wait_endpoint(site, "127.0.0.1:2")
    rename_over(path, text_of("127.0.0.1:3"))
    wait_endpoint(site, "127.0.0.1:3")
    rename_over(path, text_of("127.0.0.1:4"))
    wait_endpoint(site, "127.0.0.1:4")
    log = site.ok("log", "-o", "json").json["versions"]
    assert log[0]["author"] == "file" and log[0]["message"] == str(path)


def test_a_bad_edit_changes_nothing_and_the_next_good_one_applies(watched):
    site, path = watched
    path.write_text("clusterz: []\n")
    wait_until("the fault is told", lambda: failing(site))
    assert any(p.get("line") == 1 and p.get("nearest") == "clusters" for p in site.status()["problems"])
    assert any(r.get("line") == 1 and r["level"] == "error" for r in site.control.records())
    assert endpoints(site) == ["127.0.0.1:1"] and site.metric("file_is_served") == 0
    path.write_text("still: wrong\n")
    wait_until("the second fault is told", lambda: any("still" in str(p.get("path")) for p in site.status()["problems"]))
    path.write_text(text_of("127.0.0.1:2"))
    wait_endpoint(site, "127.0.0.1:2")
    assert not failing(site) and site.metric("file_is_served") == 1
    assert site.version() == 2


def test_a_swapped_symbolic_link(folders):
    """As Kubernetes changes a ConfigMap: gateway.yaml -> ..data/gateway.yaml, ..data -> a folder that is replaced."""
    volume = folders.folder / "volume"
    for n in (1, 2, 3):
        folders.write(f"volume/..{n}/gateway.yaml", text_of(f"127.0.0.1:{n}"))
    (volume / "..data").symlink_to("..1")
    (volume / "gateway.yaml").symlink_to("..data/gateway.yaml")
    folders.start_control_plane("--config", volume / "gateway.yaml")
    wait_endpoint(folders, "127.0.0.1:1")
    for n in (2, 3):
        (volume / "..tmp").symlink_to(f"..{n}")
        os.rename(volume / "..tmp", volume / "..data")
        (volume / f"..{n - 1}" / "gateway.yaml").unlink()
        (volume / f"..{n - 1}").rmdir()
        wait_endpoint(folders, f"127.0.0.1:{n}")


def test_includes_come_and_go(folders):
    path = folders.write("etc/gateway.yaml", "include: [conf.d/*.yaml]\n")
    folders.start_control_plane("--config", path)
    wait_until("the empty configuration is stored", lambda: folders.version() == 1)
    folders.write("etc/conf.d/web.yaml", text_of("127.0.0.1:5"))
    wait_endpoint(folders, "127.0.0.1:5")
    folders.write("etc/conf.d/web.yaml", text_of("127.0.0.1:6"))
    wait_endpoint(folders, "127.0.0.1:6")
    (folders.folder / "etc/conf.d/web.yaml").unlink()
    wait_until("the include is gone", lambda: folders.headgate("show", "cluster/web").code == 1)


def test_a_file_that_comes_later(folders):
    path = folders.folder / "later/etc/gateway.yaml"
    folders.start_control_plane("--config", path)
    wait_until("the fault is told", lambda: failing(folders))
    folders.write("later/etc/gateway.yaml", text_of("127.0.0.1:7"))
    wait_endpoint(folders, "127.0.0.1:7")
    path.unlink()
    wait_until("its loss is told", lambda: failing(folders))
    assert endpoints(folders) == ["127.0.0.1:7"]
    path.write_text(text_of("127.0.0.1:8"))
    wait_endpoint(folders, "127.0.0.1:8")


def test_a_rollback_holds_the_file_back(watched):
    site, path = watched
    path.write_text(text_of("127.0.0.1:2"))
    wait_endpoint(site, "127.0.0.1:2")
    site.ok("rollback")
    path.write_text(text_of("127.0.0.1:3"))
    wait_until("the file is held back", lambda: any("pinned" in p["message"] for p in site.status()["problems"]))
    assert endpoints(site) == ["127.0.0.1:1"] and site.status()["pinned_version"] == 3
    site.control.stop()
    site.start_control_plane("--config", path)
    wait_until("the file is still held back", lambda: any("pinned" in p["message"] for p in site.status()["problems"]))
    assert endpoints(site) == ["127.0.0.1:1"]
    site.ok("push", path)
    wait_endpoint(site, "127.0.0.1:3")
    assert "pinned_version" not in site.status()
    path.write_text(text_of("127.0.0.1:4"))
    wait_endpoint(site, "127.0.0.1:4")


def test_hup_reads_again(watched):
    site, path = watched
    site.ok("set", "cluster/web", "-", text="endpoints: [127.0.0.1:9]\n")
    os.kill(site.control.pid, signal.SIGHUP)
    wait_endpoint(site, "127.0.0.1:1")
    assert site.version() == 3


def test_the_stored_version_is_served_while_the_file_is_bad(watched):
    site, path = watched
    site.control.stop()
    path.write_text("clusterz: []\n")
    site.start_control_plane("--config", path)
    wait_until("the fault is told", lambda: failing(site))
    assert site.version() == 1 and endpoints(site) == ["127.0.0.1:1"]
