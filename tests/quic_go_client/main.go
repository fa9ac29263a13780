// A client of HTTP/3 on a library that is not ours (quic-go), told by a test what to do; gRPC over it, too.
//
//	quic-go-client CA_FILE HOST:PORT NAME      goes there, and expects a certificate of that name
//
// Standard input has one command of JSON in each line, standard output one event. `id` is the test's choice:
//
//	{"do": "ask", "id": 1, "method": "GET", "target": "/x", "fields": {"a": "b"}, "size": 5, "early": true}
//	{"do": "call", "id": 2, "target": "/test.Echo/Chat", "fields": {}}   a call of gRPC, which stays open
//	{"do": "send", "id": 2, "message": "base64"}
//	{"do": "end", "id": 2}                     no more messages
//	{"do": "cancel", "id": 2}
//	{"do": "reconnect"}                        leaves; what follows goes over another connection, with the ticket of this one
//
//	{"event": "answer", "id": 1, "status": 200, "fields": {}, "size": 5, "sha256": "...", "trailers": {}, "early": true}
//	{"event": "head", "id": 2, "status": 200, "fields": {}}
//	{"event": "message", "id": 2, "message": "base64"}
//	{"event": "over", "id": 2, "trailers": {}}
//	{"event": "failed", "id": 1, "error": "..."}
//	{"event": "gone"}                          after reconnect
//
// Content that it sends is a repetition of "0123456789". It ends with its input.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const messageMost = 64 << 20

type command struct {
	Do      string            `json:"do"`
	ID      int               `json:"id"`
	Method  string            `json:"method"`
	Target  string            `json:"target"`
	Fields  map[string]string `json:"fields"`
	Size    int64             `json:"size"`
	Early   bool              `json:"early"`
	Message []byte            `json:"message"`
}

type event map[string]any

var output sync.Mutex

func tell(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		log.Fatal(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func fail(id int, err error) {
	tell(event{"event": "failed", "id": id, "error": err.Error()})
}

// ---- one connection after the other

type client struct {
	address, name string
	tls           *tls.Config
	tokens        quic.TokenStore
	mutex         sync.Mutex
	transport     *http3.Transport
	connection    quic.EarlyConnection // the latest
}

func (c *client) connect() {
	c.transport = &http3.Transport{
		TLSClientConfig: c.tls,
		QUICConfig: &quic.Config{
			TokenStore: c.tokens, MaxIdleTimeout: time.Minute, HandshakeIdleTimeout: 20 * time.Second,
		},
		DisableCompression: true,
		Dial: func(ctx context.Context, _ string, t *tls.Config, q *quic.Config) (quic.EarlyConnection, error) {
			connection, err := quic.DialAddrEarly(ctx, c.address, t, q)
			if err == nil {
				c.mutex.Lock()
				defer c.mutex.Unlock()
				c.connection = connection
			}
			return connection, err
		},
	}
}

// Whether the server has taken early data of the latest connection.
func (c *client) wasEarly() bool {
	c.mutex.Lock()
	connection := c.connection
	c.mutex.Unlock()
	<-connection.HandshakeComplete()
	return connection.ConnectionState().Used0RTT
}

func (c *client) reconnect() {
	if err := c.transport.Close(); err != nil {
		log.Print(err)
	}
	c.connect()
	tell(event{"event": "gone"})
}

func (c *client) request(ctx context.Context, cmd *command, method string, body io.Reader) (*http.Request, error) {
	_, port, _ := strings.Cut(c.address, ":")
	request, err := http.NewRequestWithContext(ctx, method, "https://"+c.name+":"+port+cmd.Target, body)
	if err != nil {
		return nil, err
	}
	for name, value := range cmd.Fields {
		request.Header.Set(name, value)
	}
	return request, nil
}

func flat(fields http.Header) map[string]string {
	all := make(map[string]string)
	for name, values := range fields {
		all[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return all
}

// ---- a request and its answer

type digits struct{ at, size int64 }

func (d *digits) Read(p []byte) (int, error) {
	n := min(int64(len(p)), d.size-d.at)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = '0' + byte((d.at+int64(i))%10)
	}
	d.at += n
	return int(n), nil
}

func (c *client) ask(cmd *command) {
	method, body := cmd.Method, io.Reader(nil)
	if cmd.Early {
		method += "_0RTT" // as the library wants it
	}
	if cmd.Size > 0 {
		body = &digits{size: cmd.Size}
	}
	request, err := c.request(context.Background(), cmd, method, body)
	if err != nil {
		fail(cmd.ID, err)
		return
	}
	if cmd.Size > 0 {
		request.ContentLength = cmd.Size
	}
	answer, err := c.transport.RoundTrip(request)
	if err != nil {
		fail(cmd.ID, err)
		return
	}
	defer answer.Body.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, answer.Body)
	if err != nil {
		fail(cmd.ID, err)
		return
	}
	tell(event{"event": "answer", "id": cmd.ID, "status": answer.StatusCode, "fields": flat(answer.Header), "size": size,
		"sha256": hex.EncodeToString(hash.Sum(nil)), "trailers": flat(answer.Trailer), "early": c.wasEarly()})
}

// ---- a call of gRPC (PROTOCOL-HTTP2.md): messages with a head of five bytes

type call struct {
	body   *io.PipeWriter
	queue  chan []byte // messages; closed: no more
	cancel context.CancelFunc
}

func (c *client) call(cmd *command) (*call, error) {
	reader, writer := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	request, err := c.request(ctx, cmd, http.MethodPost, reader)
	if err != nil {
		cancel()
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	opened := &call{writer, make(chan []byte, 4096), cancel}
	go opened.write()
	go c.follow(cmd.ID, request)
	return opened, nil
}

func (o *call) write() {
	for message := range o.queue {
		head := make([]byte, 5)
		binary.BigEndian.PutUint32(head[1:], uint32(len(message)))
		if _, err := o.body.Write(append(head, message...)); err != nil {
			break
		}
	}
	o.body.Close()
	for range o.queue { // nobody wants the rest
	}
}

func (c *client) follow(id int, request *http.Request) {
	answer, err := c.transport.RoundTrip(request)
	if err != nil {
		fail(id, err)
		return
	}
	defer answer.Body.Close()
	tell(event{"event": "head", "id": id, "status": answer.StatusCode, "fields": flat(answer.Header)})
	for {
		message, err := readMessage(answer.Body)
		if errors.Is(err, io.EOF) {
			tell(event{"event": "over", "id": id, "trailers": flat(answer.Trailer)})
			return
		}
		if err != nil {
			fail(id, err)
			return
		}
		tell(event{"event": "message", "id": id, "message": message})
	}
}

// io.EOF: there is no further one.
func readMessage(from io.Reader) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || size > messageMost {
		return nil, fmt.Errorf("a message of %d bytes, compressed: %d", size, head[0])
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(from, message); err != nil {
		return nil, fmt.Errorf("within a message: %w", io.ErrUnexpectedEOF)
	}
	return message, nil
}

// ---- commands

func (c *client) obey(cmd *command, calls map[int]*call) {
	switch cmd.Do {
	case "ask":
		go c.ask(cmd)
	case "call":
		opened, err := c.call(cmd)
		if err != nil {
			fail(cmd.ID, err)
			return
		}
		calls[cmd.ID] = opened
	case "send":
		calls[cmd.ID].queue <- cmd.Message
	case "end":
		close(calls[cmd.ID].queue)
	case "cancel":
		calls[cmd.ID].cancel()
	case "reconnect":
		c.reconnect()
	default:
		log.Fatalf("unknown command %q", cmd.Do)
	}
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: quic-go-client CA_FILE HOST:PORT NAME")
	}
	pem, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c := &client{address: os.Args[2], name: os.Args[3], tokens: quic.NewLRUTokenStore(4, 4), tls: &tls.Config{
		RootCAs: roots, ServerName: os.Args[3], ClientSessionCache: tls.NewLRUClientSessionCache(4)}}
	c.connect()
	calls := make(map[int]*call)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 2*messageMost)
	for lines.Scan() {
		cmd := new(command)
		if err := json.Unmarshal(lines.Bytes(), cmd); err != nil {
			log.Fatal(err)
		}
		c.obey(cmd, calls)
	}
	c.transport.Close()
}
