"""Configurations of the scenarios, as what is pushed: plain lists and dicts."""

QUICK = "300ms"  # deadlines of routes and listeners that exist to be missed


def listener(gateway, **more):
    return {"name": "web", "address": f"127.0.0.1:{gateway.port}", "route-table": "site", **more}


def cluster(name, *endpoints, **more):
    return {"name": name, "endpoints": [e if isinstance(e, (str, dict)) else e.endpoint for e in endpoints],
            **more}


def configure(gateway, clusters, rules=(), hosts=None, listeners=None, **settings):
    """A configuration with the listener `web` on the gateway's port. Requests that no rule takes go to the
    first cluster."""
    rules = [*rules, {"cluster": clusters[0]["name"]}] if clusters else list(rules)
    return {
        "listeners": listeners or [listener(gateway)],
        "route-tables": [{"name": "site", "hosts": [*(hosts or []), {"domains": ["*"], "rules": rules}]}],
        "clusters": list(clusters),
        "access-log": {"format": "json", "path": str(gateway.access_log)},
        **settings,
    }


def under(prefix, action, **more):
    """A rule for a path prefix; `action` is a cluster's name or a dict."""
    action = {"cluster": action} if isinstance(action, str) else action
    return {"match": {"path": {"prefix": prefix}}, **action, **more}
