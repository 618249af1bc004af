package attack

import (
	"context"
	"flag"
	"net"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/test/fleet"
)

// comeBack is how long 600 proxies behind one address may take until they have everything from a new operator, on a machine that others
// use too. On a quiet one it is two or three seconds; with the limits for strangers it would be half a minute.
var comeBack = flag.Duration("come-back", 12*time.Second, "how long 600 proxies behind one address may take to come back")

// TestManyProxiesBehindOneAddressComeBack: the network of an egress gateway, or of nodes that masquerade, has one address for many proxies.
// After the operator was killed they all connect at once; meanwhile a stranger of another address connects as fast as it can.
func TestManyProxiesBehindOneAddressComeBack(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real API server and the operator")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	f, err := fleet.New(ctx, fleet.Size{Services: 6, Replicas: 100, Backends: 2}, operatorBinary, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	o, err := f.NewOperator("127.0.0.1", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Start(ctx); err != nil {
		t.Fatal(err)
	}
	shared := func(int) net.IP { return net.IPv4(127, 0, 0, 200) }
	if err := f.ConnectFrom(t.Context(), func(int) *fleet.Operator { return o }, shared); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := f.InStep(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d proxies of one address are in step after %v", len(f.Pods), time.Since(begin).Round(time.Millisecond))
	o.Kill()
	if err := o.Start(ctx); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	flood, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	go crowd(flood, 4, func(context.Context, int) {
		c, err := dialer(mallory).DialContext(flood, "tcp", o.Address())
		if err == nil {
			_ = c.Close()
		}
	})
	if _, err := f.InStep(ctx); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	t.Logf("after a kill they are in step after %v", took.Round(time.Millisecond))
	if took > *comeBack {
		t.Errorf("it took %v, at most %v are promised", took, *comeBack)
	}
}
