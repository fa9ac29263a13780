// kubernetes-server is an API server made of Kubernetes' own libraries, for tests: Services, Secrets and EndpointSlices,
// kept in etcd, served with Kubernetes' handlers, watch cache, authentication and error answers. What a cluster has
// besides (admission, controllers, validation of content) is not there.
//
//	kubernetes-server --etcd URL --cert FILE --key FILE --admin TOKEN [--listen ADDRESS] [--roles FILE]... [--no-watch-cache]
//	kubernetes-server --check FILE...
//
// Users come by bearer tokens. Whoever has the admin's may do everything; others may do what the Roles and ClusterRoles in
// the files of --roles allow. --check reads manifests strictly, as all kinds that Kubernetes has, and does nothing else.
//
// Standard input takes a command a line, an object with any of the members of `command`; each is answered with an event
// {"event": "done", "command": NUMBER, "error": TEXT}. Other events: {"event": "listening", "port": N} and, for each request
// that is not the admin's, {"event": "request", "target": TARGET}. The program ends with its standard input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }
func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "kubernetes-server: "+format+"\n", arguments...)
	os.Exit(1)
}

var output sync.Mutex

func tell(event map[string]any) {
	line, _ := json.Marshal(event)
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

// ---- connections

// Knows all connections, so that they can be cut.
type listener struct {
	net.Listener
	lock sync.Mutex
	open map[net.Conn]bool
}

type connection struct {
	net.Conn
	of *listener
}

func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	l.open[accepted] = true
	return &connection{accepted, l}, nil
}

func (c *connection) Close() error {
	c.of.lock.Lock()
	delete(c.of.open, c.Conn)
	c.of.lock.Unlock()
	return c.Conn.Close()
}

func (l *listener) cut() {
	l.lock.Lock()
	defer l.lock.Unlock()
	for c := range l.open {
		c.Close()
		delete(l.open, c)
	}
}

// ---- what tests change

type site struct {
	admin    string
	listener *listener
	etcd     *clientv3.Client
	roles    []role

	lock         sync.Mutex
	tokens       map[string]string
	gate         chan struct{} // closed: requests may pass
	page         int
	watchSeconds int
}

// Members that are there are done, in this order.
type command struct {
	Tokens       map[string]string `json:"tokens"`        // all that count, with the name of who has it
	Open         *bool             `json:"open"`          // false: requests wait, but for the admin's
	Page         *int              `json:"page"`          // the most objects of a page; 0: as many as are asked for
	WatchSeconds *int              `json:"watch_seconds"` // the most that a watch lasts; 0: as long as is asked for
	Compact      bool              `json:"compact"`       // etcd forgets the past
	Cut          bool              `json:"cut"`           // all connections are closed
}

func (s *site) setGate(open bool) {
	select {
	case <-s.gate:
		if !open {
			s.gate = make(chan struct{})
		}
	default:
		if open {
			close(s.gate)
		}
	}
}

func (s *site) compact() error {
	answer, err := s.etcd.Get(context.Background(), "/", clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err == nil {
		_, err = s.etcd.Compact(context.Background(), answer.Header.Revision, clientv3.WithCompactPhysical())
	}
	return err
}

func (s *site) set(c *command) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if c.Tokens != nil {
		s.tokens = c.Tokens
	}
	if c.Open != nil {
		s.setGate(*c.Open)
	}
	if c.Page != nil {
		s.page = *c.Page
	}
	if c.WatchSeconds != nil {
		s.watchSeconds = *c.WatchSeconds
	}
}

func (s *site) do(line []byte) (err error) {
	var c command
	if err := json.Unmarshal(line, &c); err != nil {
		return err
	}
	s.set(&c)
	if c.Compact {
		err = s.compact()
	}
	if c.Cut {
		s.listener.cut()
	}
	return err
}

func (s *site) obey() {
	input := bufio.NewScanner(os.Stdin)
	for number := 1; input.Scan(); number++ {
		text := ""
		if err := s.do(input.Bytes()); err != nil {
			text = err.Error()
		}
		tell(map[string]any{"event": "done", "command": number, "error": text})
	}
	os.Exit(0)
}

// ---- requests

// A smaller number than the one asked for.
func lower(query map[string][]string, name string, most int) {
	if asked, err := strconv.Atoi(strings.Join(query[name], "")); err == nil && most > 0 && asked > most {
		query[name] = []string{strconv.Itoa(most)}
	}
}

// In front of all that Kubernetes does.
func (s *site) filter(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+s.admin {
			next.ServeHTTP(w, r)
			return
		}
		tell(map[string]any{"event": "request", "target": r.RequestURI})
		s.lock.Lock()
		gate, page, watchSeconds := s.gate, s.page, s.watchSeconds
		s.lock.Unlock()
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
		query := r.URL.Query()
		lower(query, "limit", page)
		lower(query, "timeoutSeconds", watchSeconds)
		r.URL.RawQuery = query.Encode()
		next.ServeHTTP(w, r)
	})
}

func (s *site) authenticate(_ context.Context, token string) (*authenticator.Response, bool, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	name, known := s.tokens[token]
	who := &user.DefaultInfo{Name: name, Groups: []string{user.AllAuthenticated}}
	if token == s.admin {
		who, known = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}, true
	}
	return &authenticator.Response{User: who}, known, nil
}

// ---- who may do what

type role struct {
	namespace string // "": all
	rules     []rbacv1.PolicyRule
}

func among(values []string, value string) bool {
	return slices.Contains(values, value) || slices.Contains(values, "*")
}

func allows(r *rbacv1.PolicyRule, a authorizer.Attributes) bool {
	return among(r.Verbs, a.GetVerb()) && among(r.APIGroups, a.GetAPIGroup()) && among(r.Resources, a.GetResource()) &&
		a.GetSubresource() == "" && (len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.GetName()))
}

// Every role is everybody's but the admin's: there is one user in a test.
func (s *site) authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if slices.Contains(a.GetUser().GetGroups(), user.SystemPrivilegedGroup) {
		return authorizer.DecisionAllow, "", nil
	}
	for _, role := range s.roles {
		for i := range role.rules {
			if a.IsResourceRequest() && (role.namespace == "" || role.namespace == a.GetNamespace()) && allows(&role.rules[i], a) {
				return authorizer.DecisionAllow, "", nil
			}
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func rolesOf(files []string) (found []role) {
	for _, file := range files {
		objects, err := readManifest(file)
		if err != nil {
			fail("%v", err)
		}
		for _, object := range objects {
			switch o := object.(type) {
			case *rbacv1.ClusterRole:
				found = append(found, role{"", o.Rules})
			case *rbacv1.Role:
				found = append(found, role{o.Namespace, o.Rules})
			}
		}
	}
	return found
}

// ---- the program

func main() {
	var roles list
	var o options
	flag.StringVar(&o.etcd, "etcd", "", "")
	flag.StringVar(&o.certificate, "cert", "", "")
	flag.StringVar(&o.key, "key", "", "")
	flag.BoolVar(&o.noWatchCache, "no-watch-cache", false, "")
	admin := flag.String("admin", "", "")
	address := flag.String("listen", "127.0.0.1:0", "")
	check := flag.Bool("check", false, "")
	flag.Var(&roles, "roles", "")
	flag.Parse()
	if *check {
		os.Exit(checkManifests(flag.Args()))
	}
	opened, err := net.Listen("tcp", *address)
	if err != nil {
		fail("%v", err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{o.etcd}, DialTimeout: 20 * time.Second})
	if err != nil {
		fail("%v", err)
	}
	s := &site{admin: *admin, listener: &listener{Listener: opened, open: map[net.Conn]bool{}}, etcd: client,
		roles: rolesOf(roles), gate: make(chan struct{})}
	s.setGate(true)
	server, err := newServer(s, &o)
	if err != nil {
		fail("%v", err)
	}
	go s.obey()
	tell(map[string]any{"event": "listening", "port": opened.Addr().(*net.TCPAddr).Port})
	fail("%v", server.PrepareRun().RunWithContext(context.Background()))
}
