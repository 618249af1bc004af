package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

func newStandalone() *cobra.Command {
	s := standalone{}
	c := &cobra.Command{
		Use:   "standalone DIR",
		Short: "Serve xDS from a folder of manifests, without Kubernetes",
		Long: `Serves to Envoys outside a cluster what the operator would serve: the folder's manifests are compiled, backends are reached by
their DNS names, and every change of a file is served at once. A file that cannot be read, or an object that is not accepted,
never takes down what worked: the last good state goes on, and the log says why. It also says which proxies come and go, what they
refuse, and who calls itself a node that no manifest has.

Envoys name themselves: node.id is mesh/<mesh>/virtualNode/<name>. While that is all the authentication there is, the server listens
on loopback or on a Unix socket only. With --client-ca a proxy is the node that its certificate names, with --tokens the one that its
token stands for.`,
		Example: `  aftermesh standalone manifests/
  aftermesh standalone manifests/ --listen unix:///run/aftermesh/xds.sock
  aftermesh standalone manifests/ --listen :15010 --tls-cert tls.crt --tls-key tls.key --client-ca proxies-ca.crt
  aftermesh standalone manifests/ --listen :15010 --tls-cert tls.crt --tls-key tls.key --tokens tokens.txt`,
		Args: exactly(1, "one folder of manifests"),
		RunE: func(c *cobra.Command, args []string) error {
			s.dir, s.log = args[0], c.ErrOrStderr()
			return s.run(c.Context())
		},
	}
	s.flags(c.Flags())
	c.Flags().StringVarP(&s.namespace, "namespace", "n", "default", "namespace of objects that name none")
	c.Flags().StringSliceVar(&s.exempt, "egress-exempt", defaultExempt, "TLS server names on port 443 that pass the egress filter DROP_ALL")
	c.Flags().BoolVar(&s.groups, "enable-backend-groups", false, "let backend groups have an effect")
	return c
}

type standalone struct {
	access
	dir, namespace string
	exempt         []string
	groups         bool
	log            io.Writer
	pipeline       *pipeline.Pipeline
	store          store
	memory         lifetime.Memory
	writing        sync.Mutex
}

func (s *standalone) say(format string, args ...any) {
	s.writing.Lock()
	defer s.writing.Unlock()
	fmt.Fprintf(s.log, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func (s *standalone) run(ctx context.Context) error {
	auth, options, err := s.authenticator()
	if err != nil {
		return err
	}
	l, err := s.listener(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	cache := xds.NewCache()
	s.pipeline = pipeline.New(cache, time.Now)
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer watch.Close()
	if err := watchTree(watch, s.dir); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return fmt.Errorf("nothing to serve: %w", err)
	}
	report := newReporter(s.say, cache, s.pipeline.Last)
	g := grpc.NewServer(append(append(xds.GRPCOptions(), options...), grpc.ChainStreamInterceptor(report.intercept))...)
	xds.NewServer(cache, auth, xds.Options{}).Register(g)
	failed := make(chan error, 1)
	go func() { failed <- g.Serve(l) }()
	defer g.Stop()
	s.say("serving delta xDS on %s", s.listen)
	return s.follow(ctx, watch, failed, cache.Changed(), report)
}

// follow reloads after changes, waiting a moment for an editor to finish, and tells what proxies do.
func (s *standalone) follow(ctx context.Context, watch *fsnotify.Watcher, failed <-chan error, proxies <-chan struct{}, report *reporter) error {
	const moment, retry = 50 * time.Millisecond, time.Second
	var reload <-chan time.Time
	said := "" // the fault that was reported last, so that it is not repeated at each try
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-proxies:
			report.table()
		case err := <-watch.Errors:
			return fmt.Errorf("watch files: %w", err)
		case e := <-watch.Events:
			if info, err := os.Stat(e.Name); err == nil && info.IsDir() {
				if err := watchTree(watch, e.Name); err != nil {
					s.say("cannot watch %s: %v", e.Name, err)
				}
			}
			reload = time.After(moment)
		case <-reload:
			reload = nil
			// The folder may be another one by now, moved to the place of the first.
			err := watchTree(watch, s.dir)
			if err != nil {
				reload = time.After(retry) // nothing tells when it comes back
			} else {
				err = s.load()
			}
			if err != nil && err.Error() != said {
				said = err.Error()
				s.say("KEPT the last good state: %v", err)
			} else if err == nil {
				said = ""
			}
		}
	}
}

// load compiles and serves the folder. With a document that cannot be read, nothing is served: an object that is missing because
// of a typing error must not look deleted. An object that is refused stays as it was, and one that is accepted no more is served in
// its last accepted form, as in a cluster.
func (s *standalone) load() error {
	files, err := source.ReadFiles([]string{s.dir}, s.namespace, nil)
	if err != nil {
		return err
	}
	files.Admit()
	if errs := unreadable(files); len(errs) > 0 {
		return errors.Join(errs...)
	}
	files.Objects.Settings.EgressExempt, files.Objects.Settings.BackendGroups = s.exempt, s.groups
	objects, kept := s.store.take(files)
	in := s.memory.Objects(objects)
	snap := s.pipeline.Step(in)
	s.memory.Note(in, snap.Result)
	for _, f := range slices.Concat(readFindings(files), problemFindings(files, snap.Result.Problems)) {
		s.say("%s", f)
	}
	for _, id := range kept {
		s.say("KEPT %s as it was", id)
	}
	for _, id := range slices.SortedFunc(maps.Keys(snap.Result.Kept), mesh.Object.Compare) {
		s.say("KEPT %s in its last accepted form", id)
	}
	for _, kind := range slices.Sorted(maps.Keys(files.Skipped)) {
		s.say("skipped %d of kind %s", files.Skipped[kind], kind)
	}
	for _, err := range snap.Failed {
		s.say("error: %v", err)
	}
	s.say("served %d nodes, %d changed", len(snap.Sets), snap.Changed)
	return nil
}

// unreadable are the faults that leave open which object they are about.
func unreadable(files *source.Files) []error {
	var out []error
	for _, f := range files.Faults {
		if f.Reason == source.ReasonUnreadable {
			out = append(out, f)
		}
	}
	return out
}

// watchTree watches a folder and everything below it.
func watchTree(w *fsnotify.Watcher, root string) error {
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return w.Add(path)
		}
		return nil
	})
}
