package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

func newStandalone() *cobra.Command {
	s := standalone{}
	c := &cobra.Command{
		Use:   "standalone DIR",
		Short: "Serve xDS from a folder of manifests, without Kubernetes",
		Long: `Serves to Envoys outside a cluster what the operator would serve. The manifests of the folder are compiled, backends are reached
by their DNS names, and every change of a file is served at once.

An invalid edit does not take down what worked: an object that is invalid, not accepted, has unknown fields or a key twice stays as
it was, and nothing is removed while a document cannot be read. A valid edit is served, also one that removes a port. The log has
each fault once and again when it is mended, each port that is no longer served, the proxies that connect and disconnect, what they
reject, and proxies with an unknown node id.

A proxy's node.id is mesh/<mesh>/virtualNode/<name> or mesh/<mesh>/virtualGateway/<name>; docs/standalone.md has a bootstrap.
Without --client-ca or --tokens any client can claim any node id, so the server listens on loopback or on a Unix socket only.
With --client-ca the client certificate names the node, with --tokens the token.`,
		Example: `  aftermesh standalone manifests/
  aftermesh standalone manifests/ --listen unix:///run/aftermesh/xds.sock
  aftermesh standalone manifests/ --listen :15010 --tls-cert tls.crt --tls-key tls.key --client-ca proxies-ca.crt
  aftermesh standalone manifests/ --listen :15010 --tls-cert tls.crt --tls-key tls.key --tokens tokens.txt`,
		Args: exactly(1, "one folder of manifests"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(goodFolder(args[0]), goodNamespace(s.namespace), given(c, "listen", "tls-cert", "tls-key", "client-ca", "tokens")); err != nil {
				return err
			}
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

// goodFolder refuses what is no folder.
func goodFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("folder %s does not exist", path)
	case err != nil:
		return err
	case !info.IsDir():
		return usageError{fmt.Errorf("%s is a file: name the folder that holds it", path)}
	}
	return nil
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
	notices        notices
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
	linked := isLink(s.dir)
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
			if linked && filepath.Dir(e.Name) == filepath.Dir(filepath.Clean(s.dir)) && filepath.Base(e.Name) != filepath.Base(s.dir) {
				continue // next to the link
			}
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
			switch {
			case err != nil && err.Error() != said:
				said = err.Error()
				s.say("KEPT everything: %v", err)
			case err == nil && said != "":
				s.say("MENDED %s", said)
				said = ""
			}
		}
	}
}

// load compiles and serves the folder. An object that is refused stays as it was, one that is accepted no more is served in its last
// accepted form, as in a cluster, and nothing is removed while a document cannot be read: an object that is missing because of a
// typing error must not look deleted. For the same reason a folder without manifests changes nothing.
func (s *standalone) load() error {
	files, err := source.ReadFiles([]string{s.dir}, s.namespace, nil)
	if err != nil {
		return err
	}
	files.Admit()
	last := s.pipeline.Last()
	if files.Own() == 0 && len(files.Faults) == 0 {
		s.empty(last != nil)
		return nil
	}
	if errs := unreadable(files); len(errs) > 0 && last == nil {
		return errors.Join(errs...)
	}
	files.Objects.Settings.EgressExempt, files.Objects.Settings.BackendGroups = s.exempt, s.groups
	stored := s.store.take(files)
	in := s.memory.Objects(stored.objects)
	snap := s.pipeline.Step(in)
	s.memory.Note(in, snap.Result)
	list := findingNotices(slices.Concat(readFindings(files), problemFindings(files, snap.Result.Problems)))
	list = append(list, keptNotices(stored, snap.Result.Kept)...)
	for _, kind := range slices.Sorted(maps.Keys(files.Skipped)) {
		list = append(list, notice{key: "skipped " + kind, text: fmt.Sprintf("skipped %s of kind %s", count(files.Skipped[kind], "document"), kind)})
	}
	for _, group := range slices.Sorted(maps.Keys(snap.Failed)) {
		text := fmt.Sprintf("error: %s keeps its configuration: %v", group, snap.Failed[group])
		list = append(list, notice{key: text, text: text, ended: "MENDED " + text})
	}
	s.notices.change(list, s.say)
	if last != nil {
		for _, port := range removed(last.Result.Model, snap.Result.Model) {
			s.say("REMOVED %s: it is no longer in the manifests", port)
		}
	}
	s.say("serving %s, %d changed", count(len(snap.Sets), "node"), snap.Changed)
	return nil
}

// empty says that the folder holds no manifest. Before the first one proxies wait; later they keep what they have.
func (s *standalone) empty(serving bool) {
	n := notice{key: "empty", text: fmt.Sprintf("WAITING: %s holds no manifest of App Mesh's kinds (*.yaml, *.yml, *.json); put one there", s.dir)}
	if serving {
		n.text = fmt.Sprintf("KEPT everything: %s holds no manifest any more; end this process if nothing is to be served", s.dir)
	}
	s.notices.change(append(slices.Collect(maps.Values(s.notices.now)), n), s.say)
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

// isLink is true of a symbolic link. One may be pointed to another folder at any time.
func isLink(path string) bool {
	info, err := os.Lstat(filepath.Clean(path))
	return err == nil && info.Mode()&os.ModeSymlink != 0
}

// watchTree watches a folder and everything below it, and the place of the folder if it is a symbolic link.
func watchTree(w *fsnotify.Watcher, root string) error {
	if isLink(root) {
		if err := w.Add(filepath.Dir(filepath.Clean(root))); err != nil {
			return err
		}
	}
	return filepath.WalkDir(source.Folder(root), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return w.Add(path)
		}
		return nil
	})
}
