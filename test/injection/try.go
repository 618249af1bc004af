package injection

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cluster is where cases are tried. Its texts are what only it knows; cases name them in braces.
type Cluster struct {
	// Client must report warnings to Warnings.
	Client   client.Client
	Warnings *Warnings
	// Version is that of the operator, {version}, and Kubernetes that of the API server, {kubernetes}.
	Version, Kubernetes string
	// API and Service are the cluster addresses of API server and operator, {api} and {service}; several are separated by commas.
	API, Service string
	// Image is that of the operator, {image}.
	Image string
}

// Warnings collects what an API server sends along. It is for one request at a time, and for a rest.Config's WarningHandler.
type Warnings struct{ all []string }

// HandleWarningHeader keeps one warning.
func (w *Warnings) HandleWarningHeader(_ int, _ string, text string) { w.all = append(w.all, text) }

// Clear forgets earlier warnings.
func (w *Warnings) Clear() { w.all = nil }

// String has one line for each warning.
func (w *Warnings) String() string { return strings.Join(w.all, "\n") }

// denialBy begins the message of a denial by the webhook.
const denialBy = `admission webhook "mpod.appmesh.k8s.aws" denied the request: `

// Try creates the pod of a case as a dry run and says in what the answer differs from what is wanted; nothing if it does not.
func (c *Cluster) Try(ctx context.Context, one Case) (differences []string) {
	c.Warnings.Clear()
	pod := one.Pod()
	err := c.Client.Create(ctx, pod, client.DryRunAll)
	switch {
	case one.denied != "":
		return unless(err != nil && strings.Contains(err.Error(), denialBy) && strings.Contains(err.Error(), one.denied), "got %v, want denied: %s", err, one.denied)
	case one.refused != "":
		return unless(err != nil && !strings.Contains(err.Error(), "admission webhook") && strings.Contains(err.Error(), one.refused),
			"got %v, want refused by the API server: %s", err, one.refused)
	case err != nil:
		return []string{err.Error()}
	}
	facts := factsOf(pod)
	for _, name := range slices.Sorted(maps.Keys(one.want)) {
		want, fact := c.fill(one.want[name]), name
		if annotation, ok := strings.CutPrefix(name, "annotation."); ok {
			fact = "annotation." + full(annotation)
		}
		differences = append(differences, unless(facts[fact] == want, "%s is %q, want %q", name, facts[fact], want)...)
	}
	if one.warned == "" {
		return append(differences, unless(len(c.Warnings.all) == 0, "unexpected warnings: %s", c.Warnings)...)
	}
	return append(differences, unless(strings.Contains(c.Warnings.String(), one.warned), "warnings %q, want %q", c.Warnings, one.warned)...)
}

// fill replaces the words in braces.
func (c *Cluster) fill(text string) string {
	return strings.NewReplacer("{version}", c.Version, "{kubernetes}", c.Kubernetes, "{api}", c.API, "{service}", c.Service, "{image}", c.Image).Replace(text)
}

func unless(holds bool, format string, args ...any) []string {
	if holds {
		return nil
	}
	return []string{fmt.Sprintf(format, args...)}
}
