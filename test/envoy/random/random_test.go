package random

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"

	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/xds"
	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/golden"
	"github.com/aftermesh/aftermesh/test/random"
	"github.com/aftermesh/aftermesh/test/sds"
)

var (
	sets = flag.Int("sets", 40, "how many sets each Envoy gets")
	seed = flag.Uint64("seed", 1, "seed of the first set")
)

// versions are the newest and the oldest Envoy supported.
var versions = []string{"1.40.0", "1.37.0"}

const inside = "AFTERMESH_NAMESPACE"

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("unshare", append([]string{"--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`}, os.Args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), inside+"=1"), os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// anybody lets every proxy in as the same one.
type anybody struct{}

// Authenticate names the proxy.
func (anybody) Authenticate(context.Context, *corev3.Node) (xds.Proxy, error) {
	return xds.Proxy{ID: "probe"}, nil
}

func TestEnvoyRefusesNoRandomSet(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { feed(t, version) })
	}
}

func TestEnvoyRefusesNoGolden(t *testing.T) {
	files, err := filepath.Glob("../../../pkg/pipeline/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			dir := t.TempDir()
			probe := probe{cache: start(t, dir, version)}
			for _, file := range files {
				g, err := golden.Parse(file)
				if err != nil {
					t.Fatal(err)
				}
				snapshot, err := g.Step(inDir(g.Files[0].Data, dir))
				if err != nil {
					t.Fatal(err)
				}
				probe.give(t, filepath.Base(file), snapshot)
			}
			t.Logf("%d configurations of %d files", probe.given, len(files))
		})
	}
}

// path is where manifests have a certificate, a key or the trust in a file.
var path = regexp.MustCompile(`((?:certificateChain|privateKey): )"?/[^,}\s"]+"?`)

// inDir lets manifests read the files of the folder.
func inDir(manifests []byte, dir string) []byte {
	return path.ReplaceAllFunc(manifests, func(m []byte) []byte {
		name := "tls.crt"
		if bytes.HasPrefix(m, []byte("privateKey")) {
			name = "tls.key"
		}
		key, _, _ := bytes.Cut(m, []byte(" "))
		return fmt.Appendf(nil, "%s %s", key, filepath.Join(dir, name))
	})
}

// probe gives one Envoy configuration after configuration.
type probe struct {
	cache *xds.Cache
	given int
}

// give publishes the set of every group and waits until Envoy has taken it.
func (p *probe) give(t *testing.T, what string, snapshot *pipeline.Snapshot) {
	t.Helper()
	for _, id := range slices.Sorted(maps.Keys(snapshot.Sets)) {
		p.given++
		set := snapshot.Sets[id]
		p.cache.Publish(&xds.Snapshot{Seq: uint64(p.given), Sets: map[string]*xds.Set{"probe": set}, GroupOf: func(proxy string) (string, bool) { return proxy, true }})
		if err := settled(p.cache, set.Version); err != nil {
			t.Fatalf("%s: group %s: %v", what, id, err)
		}
	}
}

func feed(t *testing.T, version string) {
	dir := t.TempDir()
	probe := probe{cache: start(t, dir, version)}
	for i := range *sets {
		s := *seed + uint64(i)
		g := random.New(s)
		g.Certificates = dir
		probe.give(t, fmt.Sprintf("seed %d", s), pipeline.New(nil, time.Now).Step(g.Objects()))
	}
	t.Logf("%d configurations of %d sets", probe.given, *sets)
	if probe.given < *sets {
		t.Errorf("only %d configurations in %d sets: they prove little", probe.given, *sets)
	}
}

// settled waits until Envoy has acknowledged everything of a content.
func settled(c *xds.Cache, version string) error {
	changed, stop := c.Watch()
	defer stop()
	limit := time.After(30 * time.Second)
	for {
		for _, s := range c.Streams() {
			if len(s.Refused) > 0 {
				return fmt.Errorf("refused: %+v", s.Refused)
			}
			if s.AckedSet == version {
				return nil
			}
		}
		select {
		case <-changed:
		case <-limit:
			return fmt.Errorf("not acknowledged after 30 s: %+v", c.Streams())
		}
	}
}

// start runs a control plane without a pipeline and an Envoy that asks it.
func start(t *testing.T, dir, version string) *xds.Cache {
	t.Helper()
	layout, err := cluster.Find()
	if err != nil {
		t.Fatal(err)
	}
	certificates(t, dir)
	provider, err := sds.Listen(filepath.Join(dir, "sds.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Close)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "xds.sock"))
	if err != nil {
		t.Fatal(err)
	}
	cache := xds.NewCache()
	server := grpc.NewServer(xds.GRPCOptions()...)
	xds.NewServer(cache, anybody{}, xds.Options{Linger: time.Millisecond}).Register(server)
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)

	text, err := os.ReadFile("../gateway/testdata/bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"ADMIN": "admin.sock", "XDS": "xds.sock", "SDSSOCKET": "sds.sock"} {
		text = bytes.ReplaceAll(text, []byte("path: "+from+"}"), []byte("path: "+filepath.Join(dir, to)+"}"))
	}
	config := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), layout.Envoy(version), "-c", config, "--disable-hot-restart", "--log-level", "error")
	cmd.Stderr, cmd.WaitDelay = &said, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("envoy:\n%.20000s", said.String())
		}
	})
	return cache
}

func certificates(t *testing.T, dir string) {
	t.Helper()
	a, err := identity.NewAuthority("random", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := a.Leaf(identity.Names{DNS: []string{"random"}}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": chain, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
