package replicas

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/test/fleet"
)

// size gives every service 3 callers with 2 pods each, of which one is connected to each replica.
var size = fleet.Size{Services: 8, Replicas: 2, Backends: 3}

const (
	callers  = 6
	patience = 30 * time.Second
)

// binary is the variable that names the operator's binary, and is set in the network namespace only.
const binary = "REPLICAS_BINARY"

// TestMain runs the tests again in a network namespace of their own, where each replica has an address as a pod has.
func TestMain(m *testing.M) {
	if os.Getenv(binary) != "" {
		os.Exit(m.Run())
	}
	os.Exit(inNamespace())
}

func inNamespace() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "replicas")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	path, err := fleet.Build(context.Background(), dir)
	if err != nil {
		return fail(err)
	}
	const prepare = `ip link set lo up && ip address add 192.0.2.0/24 dev lo && for n in 2 3 4 5; do ip address add 192.0.2.$n/32 dev lo; done && exec "$0" "$@"`
	cmd := exec.Command("unshare", append([]string{"--net", "sh", "-c", prepare}, os.Args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), binary+"="+path), os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fail(err)
	}
	return 0
}

func TestTwoReplicasTellOneTruth(t *testing.T) {
	f := start(t)
	leader, follower := replica(t, f, "192.0.2.2"), replica(t, f, "192.0.2.3")
	peers(t, f, leader, follower)
	run(t, leader)
	await(t, "a leader", func() (bool, string) {
		var l coordinationv1.Lease
		err := f.Client.Get(t.Context(), client.ObjectKey{Namespace: fleet.SystemNamespace, Name: "aftermesh"}, &l)
		return err == nil, fmt.Sprint(err)
	})
	run(t, follower)
	if err := f.Connect(t.Context(), func(pod int) *fleet.Operator { return []*fleet.Operator{leader, follower}[pod%2] }); err != nil {
		t.Fatal(err)
	}
	if _, err := f.InStep(t.Context()); err != nil {
		t.Fatal(err)
	}

	t.Log("the leader counts the proxies of both")
	if _, err := f.ChangeRoute(t.Context(), 0, 70); err != nil {
		t.Fatal(err)
	}
	programmed(t, f, 0, metav1.ConditionTrue, meshv1beta2.ReasonProgrammed, fmt.Sprintf("%d of %d proxies run this generation", callers, callers))

	t.Log("the other replica stops answering; what its proxies run is unknown")
	if err := follower.Freeze(); err != nil {
		t.Fatal(err)
	}
	generation := weigh(t, f, 1, 60)
	programmed(t, f, 1, metav1.ConditionUnknown, meshv1beta2.ReasonUnknown,
		fmt.Sprintf("%d of %d proxies run this generation, %d are served by a replica that cannot be reached", callers/2, callers, callers/2))
	if c := condition(t, f, 1); c.ObservedGeneration != generation {
		t.Errorf("the condition is about generation %d, want %d", c.ObservedGeneration, generation)
	}

	t.Log("it goes on, and nothing is unknown any more")
	if err := follower.Thaw(); err != nil {
		t.Fatal(err)
	}
	programmed(t, f, 1, metav1.ConditionTrue, meshv1beta2.ReasonProgrammed, fmt.Sprintf("%d of %d proxies run this generation", callers, callers))
}

func TestAReplicaThatWasAwayServesNothingOlderThanTheOther(t *testing.T) {
	f := start(t)
	a, b := replica(t, f, "192.0.2.4"), replica(t, f, "192.0.2.5")
	peers(t, f, a, b)
	run(t, a)
	run(t, b)
	// The last thing that is written concerns the first replica only, so that the list of the second must be as new.
	for i := range 5 {
		weigh(t, f, 2, 30+i)
	}
	b.Kill()
	begin := time.Now()
	run(t, b)
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("a replica beside a healthy one served after %v: it waited for something that it had read already", d)
	}
}

func start(t *testing.T) *fleet.Fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	f, err := fleet.New(ctx, size, os.Getenv(binary), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func replica(t *testing.T, f *fleet.Fleet, ip string) *fleet.Operator {
	t.Helper()
	o, err := f.NewOperator(ip, true)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func run(t *testing.T, o *fleet.Operator) {
	t.Helper()
	if err := o.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// peers makes the replicas known to each other, as Kubernetes does for the pods of a headless Service.
func peers(t *testing.T, f *fleet.Fleet, list ...*fleet.Operator) {
	t.Helper()
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fleet.SystemNamespace, Name: "aftermesh-peers", Labels: map[string]string{discoveryv1.LabelServiceName: "aftermesh-peers"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	ready := true
	for _, o := range list {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{o.IP}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: fleet.SystemNamespace, Name: "aftermesh-peers"},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Port: 15011}}},
	}
	for _, o := range []client.Object{service, s} {
		if err := f.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// weigh changes a route and returns the router's new generation.
func weigh(t *testing.T, f *fleet.Fleet, service, weight int) int64 {
	t.Helper()
	if err := f.SetWeight(t.Context(), service, weight); err != nil {
		t.Fatal(err)
	}
	return router(t, f, service).Generation
}

func router(t *testing.T, f *fleet.Fleet, service int) *meshv1beta2.VirtualRouter {
	t.Helper()
	var r meshv1beta2.VirtualRouter
	if err := f.Client.Get(t.Context(), client.ObjectKey{Namespace: fleet.Namespace, Name: fmt.Sprintf("r%03d", service)}, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func condition(t *testing.T, f *fleet.Fleet, service int) meshv1beta2.Condition {
	t.Helper()
	c := meshv1beta2.FindCondition(router(t, f, service).Status.Conditions, meshv1beta2.ConditionProgrammed)
	if c == nil {
		return meshv1beta2.Condition{}
	}
	return *c
}

// programmed waits for a condition of the router's present generation. On the way there it may not be true if it is to become unknown.
func programmed(t *testing.T, f *fleet.Fleet, service int, status metav1.ConditionStatus, reason, message string) {
	t.Helper()
	generation := router(t, f, service).Generation
	await(t, fmt.Sprintf("Programmed=%s/%s %q of router %d", status, reason, message, service), func() (bool, string) {
		c := condition(t, f, service)
		if c.ObservedGeneration == generation && c.Status == metav1.ConditionTrue && status != metav1.ConditionTrue {
			t.Fatalf("Programmed is true for generation %d although a replica does not answer: %s", generation, c.Message)
		}
		return c.ObservedGeneration == generation && c.Status == status && c.Reason == reason && c.Message == message,
			fmt.Sprintf("generation %d: %s/%s %q", c.ObservedGeneration, c.Status, c.Reason, c.Message)
	})
}

func await(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		done, seen := ok()
		if done {
			return
		}
		last = seen
	}
	t.Fatalf("no %s within %v; last seen: %s", what, patience, last)
}
