// A management server of the library that most of them are made of (go-control-plane), told by a test what to serve.
//
// Standard input has one command of JSON in each line, standard output one event:
//
//	{"set": {"node": "n", "version": "3", "resources": [{"@type": "type.googleapis.com/...", ...}]}}
//	{"change": {...}}                  likewise, and what there was before stays where no resource of the same name comes
//	{"clear": "n"}                     nothing is served to this node any more
//	{"delay_ms": 200}                  before each answer from now on
//
//	{"event": "listening", "port": 18000, "rest_port": 18001}
//	{"event": "done", "command": 1, "error": "..."}
//	{"event": "opened" | "closed", "stream": 1, "type": "..."}
//	{"event": "request", "stream": 1, "type": "...", "version": "...", "nonce": "...", "names": [], "unsubscribe": [], "error": "..."}
//	{"event": "response", "stream": 1, "type": "...", "version": "...", "nonce": "...", "count": 4}
//
// Polls over HTTP are those of stream 0. Each event has the microseconds since 1970 under "us".
//
// It ends with its input.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	extension "github.com/envoyproxy/go-control-plane/envoy/service/extension/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/config"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"github.com/envoyproxy/go-control-plane/pkg/test"
	testv3 "github.com/envoyproxy/go-control-plane/pkg/test/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	// What can stand in an Any.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/quic/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// ---- events

var output = struct {
	sync.Mutex
	*json.Encoder
}{Encoder: json.NewEncoder(os.Stdout)}

func tell(event string, fields map[string]any) {
	fields["event"], fields["us"] = event, time.Now().UnixMicro()
	output.Lock()
	defer output.Unlock()
	if err := output.Encode(fields); err != nil {
		log.Fatal(err)
	}
}

var delay atomic.Int64 // nanoseconds before each answer

func callbacks() server.CallbackFuncs {
	opened := func(_ context.Context, stream int64, typeURL string) error {
		tell("opened", map[string]any{"stream": stream, "type": typeURL})
		return nil
	}
	closed := func(stream int64, _ *core.Node) {
		tell("closed", map[string]any{"stream": stream})
	}
	return server.CallbackFuncs{
		StreamOpenFunc: opened, DeltaStreamOpenFunc: opened, StreamClosedFunc: closed, DeltaStreamClosedFunc: closed,
		StreamRequestFunc: func(stream int64, r *discovery.DiscoveryRequest) error {
			tell("request", map[string]any{"stream": stream, "type": r.GetTypeUrl(), "version": r.GetVersionInfo(),
				"nonce": r.GetResponseNonce(), "names": r.GetResourceNames(), "error": r.GetErrorDetail().GetMessage(),
				"node": r.GetNode().GetId()})
			return nil
		},
		StreamDeltaRequestFunc: func(stream int64, r *discovery.DeltaDiscoveryRequest) error {
			tell("request", map[string]any{"stream": stream, "type": r.GetTypeUrl(), "nonce": r.GetResponseNonce(),
				"names": r.GetResourceNamesSubscribe(), "unsubscribe": r.GetResourceNamesUnsubscribe(),
				"held": r.GetInitialResourceVersions(), "error": r.GetErrorDetail().GetMessage(),
				"node": r.GetNode().GetId()})
			return nil
		},
		FetchRequestFunc: func(_ context.Context, r *discovery.DiscoveryRequest) error {
			time.Sleep(time.Duration(delay.Load()))
			tell("request", map[string]any{"stream": 0, "type": r.GetTypeUrl(), "version": r.GetVersionInfo(),
				"nonce": r.GetResponseNonce(), "names": r.GetResourceNames(), "error": r.GetErrorDetail().GetMessage(),
				"node": r.GetNode().GetId()})
			return nil
		},
		FetchResponseFunc: func(_ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			tell("response", map[string]any{"stream": 0, "type": r.GetTypeUrl(), "version": r.GetVersionInfo(),
				"nonce": r.GetNonce(), "count": len(r.GetResources())})
		},
		StreamResponseFunc: func(_ context.Context, stream int64, _ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			time.Sleep(time.Duration(delay.Load()))
			tell("response", map[string]any{"stream": stream, "type": r.GetTypeUrl(), "version": r.GetVersionInfo(),
				"nonce": r.GetNonce(), "count": len(r.GetResources())})
		},
		StreamDeltaResponseFunc: func(stream int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
			time.Sleep(time.Duration(delay.Load()))
			tell("response", map[string]any{"stream": stream, "type": r.GetTypeUrl(), "version": r.GetSystemVersionInfo(),
				"nonce": r.GetNonce(), "count": len(r.GetResources()), "removed": r.GetRemovedResources()})
		},
	}
}

// ---- commands

type content struct {
	Node, Version string
	Resources     []json.RawMessage
}

type command struct {
	Set, Change *content
	Clear       *string
	DelayMs     *int64 `json:"delay_ms"`
}

func parse(texts []json.RawMessage) (map[resource.Type][]types.Resource, error) {
	byType := map[resource.Type][]types.Resource{}
	for i, text := range texts {
		var a anypb.Any
		if err := protojson.Unmarshal(text, &a); err != nil {
			return nil, fmt.Errorf("resource %d: %w", i, err)
		}
		m, err := a.UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("resource %d: %w", i, err)
		}
		byType[a.GetTypeUrl()] = append(byType[a.GetTypeUrl()], m)
	}
	return byType, nil
}

// What there is with what comes put over it.
func merge(before cache.ResourceSnapshot, byType map[resource.Type][]types.Resource) map[resource.Type][]types.Resource {
	merged := map[resource.Type][]types.Resource{}
	for t := types.ResponseType(0); t < types.UnknownType; t++ {
		typeURL, err := cache.GetResponseTypeURL(t)
		if err != nil {
			continue
		}
		all := map[string]types.Resource{}
		for name, r := range before.GetResources(typeURL) {
			all[name] = r
		}
		for _, r := range byType[typeURL] {
			all[cache.GetResourceName(r)] = r
		}
		for _, r := range all {
			merged[typeURL] = append(merged[typeURL], r)
		}
	}
	return merged
}

func run(c command, snapshots cache.SnapshotCache) error {
	if c.DelayMs != nil {
		delay.Store(*c.DelayMs * int64(time.Millisecond))
	}
	if c.Clear != nil {
		snapshots.ClearSnapshot(*c.Clear)
	}
	if c.Set != nil {
		return serve(*c.Set, nil, snapshots)
	}
	if c.Change != nil {
		before, err := snapshots.GetSnapshot(c.Change.Node)
		if err != nil {
			return err
		}
		return serve(*c.Change, before, snapshots)
	}
	return nil
}

func serve(c content, before cache.ResourceSnapshot, snapshots cache.SnapshotCache) error {
	byType, err := parse(c.Resources)
	if err != nil {
		return err
	}
	if before != nil {
		byType = merge(before, byType)
	}
	s, err := cache.NewSnapshot(c.Version, byType)
	if err != nil {
		return err
	}
	return snapshots.SetSnapshot(context.Background(), c.Node, s)
}

func obey(snapshots cache.SnapshotCache) {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	decoder := json.NewDecoder(lines)
	for number := 1; ; number++ {
		var c command
		if err := decoder.Decode(&c); err != nil {
			return
		}
		text := ""
		if err := run(c, snapshots); err != nil {
			text = err.Error()
		}
		tell("done", map[string]any{"command": number, "error": text})
	}
}

// ---- servers

// Without a certificate: nil.
func transport(certificate, key, clientCA string) (*tls.Config, error) {
	if certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}
	if clientCA != "" {
		text, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, err
		}
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		c.ClientCAs.AppendCertsFromPEM(text)
	}
	return c, nil
}

func listen(address string) net.Listener {
	l, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return l
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "of the discovery services")
	rest := flag.String("rest", "127.0.0.1:0", "of the same over HTTP with JSON")
	ads := flag.Bool("ads", false, "endpoints and routes are answered only when all are asked for, and in order of types")
	certificate := flag.String("cert", "", "PEM; none: plaintext")
	key := flag.String("key", "", "PEM")
	clientCA := flag.String("client-ca", "", "PEM; clients must have a certificate of it")
	flag.Parse()

	var options []config.XDSOption
	if *ads {
		options = append(options, sotw.WithOrderedADS())
	}
	snapshots := cache.NewSnapshotCache(*ads, cache.IDHash{}, nil)
	srv := server.NewServer(context.Background(), snapshots, callbacks(), options...)
	security, err := transport(*certificate, *key, *clientCA)
	if err != nil {
		log.Fatal(err)
	}
	l, r := listen(*address), listen(*rest)
	tell("listening", map[string]any{"port": l.Addr().(*net.TCPAddr).Port, "rest_port": r.Addr().(*net.TCPAddr).Port})
	grpcOptions := []grpc.ServerOption{grpc.MaxConcurrentStreams(1000000)}
	if security != nil {
		grpcOptions = append(grpcOptions, grpc.Creds(credentials.NewTLS(security)))
		forHTTP := security.Clone()
		forHTTP.NextProtos = nil
		r = tls.NewListener(r, forHTTP)
	}
	g := grpc.NewServer(grpcOptions...)
	testv3.RegisterServer(g, srv)
	extension.RegisterExtensionConfigDiscoveryServiceServer(g, srv)
	go func() { log.Fatal(g.Serve(l)) }()
	gateway := &test.HTTPGateway{Gateway: server.HTTPGateway{Server: srv}}
	go func() { log.Fatal(http.Serve(r, gateway)) }()
	obey(snapshots)
}
