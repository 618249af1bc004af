// Command echo replaces any application: it answers with its identity, forwards where it is told to, and makes requests on
// demand. It is configured by the variable ECHO_CONFIG (see Config) and controlled at port 19999, which a mesh does not intercept.
//
// Every answer says who made it: the header x-echo-chain lists the identities of all applications on the way, the first one
// called first, and x-echo-seen what the last one saw of the request.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// Config says what an instance is.
type Config struct {
	// Identity is what it answers; "<port>" in it stands for the port that took the request.
	Identity string `json:"identity"`
	// Listens are its ports; the protocol is http, h2c, http2, grpc or tcp. HTTP ports take HTTP/1.1 and HTTP/2 in clear text.
	Listens []Listen `json:"listens"`
	// Forwards are tried in order; a request that none matches is answered here.
	Forwards []Forward `json:"forwards"`
	// Rules are special answers, tried in order where no forward matches.
	Rules []Rule `json:"rules"`
	// First is a URL that is requested before anything else; without a 2xx answer the instance ends with code 1. Once ends it
	// with code 0 otherwise, so that it is a job.
	First string `json:"first"`
	Once  bool   `json:"once"`
	// Control is the port of the orders, for a second instance in a pod; absent: 19999.
	Control int `json:"control"`
	// Farewell is what happens after the stop signal.
	Farewell *Farewell `json:"farewell"`
}

// Farewell goes on requesting a URL after the stop signal, twenty times a second, and prints the counts in the end.
type Farewell struct {
	URL     string  `json:"url"`
	Seconds float64 `json:"seconds"`
}

// Rule is a special answer.
type Rule struct {
	// When is as in Forward. Health checks of Envoy never match.
	When string `json:"when"`
	// DelaySeconds passes before the answer.
	DelaySeconds float64 `json:"delaySeconds"`
	// Fault is begin (this instance is faulty from now on), end, or obey (500 while it is faulty).
	Fault string `json:"fault"`
	// Statuses are answered at random, each as likely as the others; none means 200.
	Statuses []int `json:"statuses"`
}

// Listen is one port.
type Listen struct {
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
}

// Forward passes requests on and their answers back.
type Forward struct {
	// When is "METHOD /prefix", "/prefix", "/prefix/<rest>" or "any path but /prefix"; or "every other request"
	// and "the others", which take turns.
	When string `json:"when"`
	// To is a URL, where "<same path>" stands for the path of the request and "<rest>" for what follows the prefix, or "host:port package.Service/Method" for gRPC.
	To string `json:"to"`
	// Protocol is http (also when empty), h2c or grpc.
	Protocol string `json:"protocol"`
	// Headers are passed on; "*" means all.
	Headers []string `json:"headers"`
}

// controlPort is where requests are ordered and counted.
const controlPort = 19999

func main() {
	if len(os.Args) == 2 && os.Args[1] == "true" {
		return // what an exec probe runs: the image has no other program
	}
	c := Config{Control: controlPort}
	if raw := os.Getenv("ECHO_CONFIG"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &c); err != nil {
			log.Fatalf("ECHO_CONFIG: %v", err)
		}
	}
	e := newEcho(c)
	if c.First != "" {
		if g := e.one(context.Background(), order.HTTP{URL: c.First}); g.Error != "" || g.Status/100 != 2 {
			log.Fatalf("first request: status %d %s", g.Status, g.Error)
		}
		if c.Once {
			log.Print("exiting")
			return
		}
	}
	failed := make(chan error)
	for _, l := range c.Listens {
		go func() { failed <- e.listen(l) }()
	}
	go func() { failed <- serveHTTP(fmt.Sprintf(":%d", c.Control), e.control()) }()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-stop:
		e.farewell()
	case err := <-failed:
		log.Fatal(err)
	}
}

// farewell calls out after the stop signal, and prints a line of JSON with what came of it.
func (e *echo) farewell() {
	f := e.config.Farewell
	if f == nil {
		return
	}
	counts := newCounts()
	for end := time.Now().Add(time.Duration(f.Seconds * float64(time.Second))); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		counts.Requests++
		if g := e.one(context.Background(), order.HTTP{URL: f.URL}); g.Error != "" {
			counts.Errors[g.Error]++
		} else {
			counts.Statuses[strconv.Itoa(g.Status)]++
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(counts); err != nil {
		log.Print(err)
	}
}

func (e *echo) listen(l Listen) error {
	address := fmt.Sprintf(":%d", l.Port)
	switch l.Protocol {
	case "grpc":
		return e.serveGRPC(address)
	case "tcp":
		return e.serveTCP(address)
	default:
		return serveHTTP(address, http.HandlerFunc(e.answer))
	}
}

// serveHTTP takes HTTP/1.1 and HTTP/2 in clear text on one port.
func serveHTTP(address string, h http.Handler) error {
	s := &http.Server{Addr: address, Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s.ListenAndServe()
}

// serveTCP answers each line with the identity.
func (e *echo) serveTCP(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			buf := make([]byte, 1024)
			for {
				if _, err := conn.Read(buf); err != nil {
					return
				}
				if _, err := fmt.Fprintln(conn, e.identity(conn.LocalAddr())); err != nil {
					return
				}
			}
		}()
	}
}
