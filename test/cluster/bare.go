package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// BareOptions says how to start an API server without a node.
type BareOptions struct {
	// ID names it for StopBare; "" makes one up.
	ID string
	// Flags are added to kube-apiserver's.
	Flags []string
	// Binary is another multi-call binary than the default version's; "" for the default, built if need be.
	Binary string
	// Bound ends it with this program (SIGKILL by the kernel), whatever happens.
	Bound bool
	// Progress tells of a build, if one is needed; nil is silent.
	Progress *Progress
}

// Bare is a running etcd and kube-apiserver: real storage, CRDs, admission, no controller, no node.
type Bare struct {
	ID         string
	Dir        string // its keys (pki/), logs/ and data
	URL        string
	Kubeconfig string // path; the user is in system:masters
	procs      []*process
}

// StartBare starts an API server on free ports. Any number may run at once; none needs root.
// Without controllers there are no default service accounts, so that admission plugin is off.
func (l Layout) StartBare(ctx context.Context, o BareOptions) (*Bare, error) {
	if o.Binary == "" {
		o.Binary = l.Bin("kube")
		if err := l.BuildKube(o.Progress); err != nil {
			return nil, err
		}
	}
	if o.ID == "" {
		o.ID = fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()%1e9)
	}
	l.sweepBare()
	dir := l.bareDir(o.ID)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("api server %s: %w (stop it first)", o.ID, err)
	}
	p := &plane{dir: dir, records: filepath.Join(dir, "pids"), kube: o.Binary, bound: o.Bound,
		services: "10.73.0.0/24",
		flags:    append([]string{"--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"}, o.Flags...)}
	b := &Bare{ID: o.ID, Dir: dir, Kubeconfig: filepath.Join(dir, "kubeconfig")}
	err := p.start(ctx)
	b.URL, b.procs = p.url(), p.procs
	if err != nil {
		return nil, errors.Join(err, b.kill())
	}
	return b, nil
}

// Stop ends both processes and removes their folder.
func (b *Bare) Stop() error {
	return errors.Join(b.kill(), os.RemoveAll(b.Dir))
}

func (b *Bare) kill() error {
	var err error
	for _, p := range b.procs {
		err = errors.Join(err, p.stop(0))
	}
	return err
}

// ListBare returns the API servers of this working copy, those with dead processes too.
func (l Layout) ListBare() []*Bare {
	entries, _ := os.ReadDir(l.bareDir(""))
	var list []*Bare
	for _, e := range entries {
		dir := l.bareDir(e.Name())
		list = append(list, &Bare{ID: e.Name(), Dir: dir, Kubeconfig: filepath.Join(dir, "kubeconfig"),
			procs: recorded(filepath.Join(dir, "pids"))})
	}
	return list
}

// sweepBare removes what servers of killed test runs left.
func (l Layout) sweepBare() {
	for _, b := range l.ListBare() {
		if info, err := os.Stat(b.Dir); err == nil && time.Since(info.ModTime()) > 10*time.Minute && !b.anyAlive() {
			_ = os.RemoveAll(b.Dir)
		}
	}
}

func (b *Bare) anyAlive() bool {
	return slices.ContainsFunc(b.procs, (*process).alive)
}

// Running says whether both processes live.
func (b *Bare) Running() bool {
	return len(b.procs) == 2 && b.procs[0].alive() && b.procs[1].alive()
}

func (l Layout) bareDir(id string) string { return l.Cache("apiserver", id) }
