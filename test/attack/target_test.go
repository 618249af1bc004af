package attack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// hostileVariable names the attack that a process of this test binary is to make. Hostile clients have a process of their own, of the
// lowest priority: on a machine of their own they would not slow down those who measure.
const hostileVariable = "ATTACK"

// target is what the attacker knows.
type target struct {
	XDS, Webhook, Metrics, Health, DNS string
	// Tokens are those of proxies that he has.
	Tokens []string
	Each   time.Duration

	complaints chan string
}

// attack makes an attack for the time of each, in another process.
func (w *World) attack(t *testing.T, name string, tokens []string) {
	t.Helper()
	text, err := json.Marshal(target{
		XDS: w.Operator.Address(), Webhook: w.Operator.WebhookAddress(), Metrics: w.Operator.MetricsAddress(), Health: w.Operator.HealthAddress(),
		DNS: w.Operator.DNSAddress(), Tokens: tokens, Each: *each,
	})
	if err != nil {
		t.Fatal(err)
	}
	const grace = 30 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), *each+grace)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", os.Args[0])
	cmd.Env, cmd.Stdin = append(os.Environ(), hostileVariable+"="+name, "GOMEMLIMIT=2GiB"), strings.NewReader(string(text))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if len(out) > 0 {
		t.Log(strings.TrimSpace(string(out)))
	}
}

// hostile makes an attack in this process and returns its exit code: 1 if something was possible that may not be.
func hostile(name string) int {
	x := &target{complaints: make(chan string, 1)}
	attack := attacks[name]
	if err := json.NewDecoder(os.Stdin).Decode(x); err != nil || attack == nil {
		fmt.Println("no such attack:", name, err)
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), x.Each)
	defer cancel()
	attack(ctx, x)
	select {
	case text := <-x.complaints:
		fmt.Println(text)
		return 1
	default:
		return 0
	}
}

// complain says that something was possible that may not be.
func (x *target) complain(format string, args ...any) {
	select {
	case x.complaints <- fmt.Sprintf(format, args...):
	default: // one is enough
	}
}

// token is that of hostile client i; several share one.
func (x *target) token(i int) string { return x.Tokens[i%len(x.Tokens)] }

// dial opens a connection to the xDS port from one of the attacker's addresses.
func (x *target) dial(i int, more ...grpc.DialOption) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///"+x.XDS, append([]grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})), //nolint:gosec // attackers do not care
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer(from(i)).DialContext(ctx, "tcp", address)
		}),
	}, more...)...)
	if err != nil {
		panic(err) // the options are wrong
	}
	return conn
}

// session is one connection with one stream, which do may use until the context ends.
func (x *target) session(ctx context.Context, i int, token string, do func(*stream), more ...grpc.DialOption) {
	conn := x.dial(i, more...)
	defer conn.Close()
	s, err := open(ctx, conn, token)
	if err != nil {
		return
	}
	defer s.end()
	do(s)
}
