"""What responses over TCP say of HTTP/3."""
import pytest

from configuration import cluster, configure, listener, under
from wire import request, response

RULES = [
    under("/own", {"respond": {"status": 200, "body": "x"}}),
    under("/set", {"respond": {"status": 200, "body": "x"}}, **{"response-headers": [{"name": "alt-svc", "value": "clear"}]}),
    under("/none", {"respond": {"status": 200, "body": "x"}}, **{"response-headers": [{"name": "alt-svc", "action": "remove"}]}),
]


@pytest.fixture
def advertising(gateway, scripted):
    def serve(**more):
        gateway.serve(configure(gateway, [cluster("origin", scripted)], RULES, listeners=[listener(gateway, **more)]))
        return scripted
    yield serve
    scripted.drop_connections()


def answered(gateway, target):
    with gateway.connect() as client:
        client.send(request("GET", target))
        return client.receive_response().fields.all("alt-svc")


def forwarded(gateway, origin, *fields):
    with gateway.connect() as client:
        client.send(request("GET", "/"))
        served, _others = origin.accept_request("/")
        served.receive_request()
        served.send(b"HTTP/1.1 103 Early Hints\r\nAlt-Svc: early\r\n\r\n" + response(200, *fields, body=b"x"))
        interim, final = client.receive_head(), client.receive_response()
        assert (interim.status, final.status) == (103, 200)
        assert interim.fields.all("alt-svc") == ["early"]
        return final.fields.all("alt-svc")


def test_final_responses_say_it(gateway, advertising):
    origin = advertising(**{"alt-svc": {"port": 8443, "max-age": "1h"}})
    assert answered(gateway, "/own") == ['h3=":8443"; ma=3600']
    assert forwarded(gateway, origin) == ['h3=":8443"; ma=3600']
    assert answered(gateway, "/nowhere/at/all/../..\\") == ['h3=":8443"; ma=3600']  # 400


def test_it_takes_the_place_of_what_an_origin_says(gateway, advertising):
    origin = advertising(**{"alt-svc": {"port": 443, "persist": True}})
    assert forwarded(gateway, origin, 'alt-svc: h3=":9443"', "alt-svc: clear") == ['h3=":443"; ma=86400; persist=1']


def test_a_rule_has_the_last_word(gateway, advertising):
    advertising(**{"alt-svc": 443})
    assert answered(gateway, "/set") == ["clear"]
    assert answered(gateway, "/none") == []


def test_without_it_an_origin_speaks_for_itself(gateway, advertising):
    origin = advertising()
    assert forwarded(gateway, origin, 'alt-svc: h3=":9443"') == ['h3=":9443"']
    assert answered(gateway, "/own") == []
