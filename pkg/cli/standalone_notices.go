package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/source"
)

// notice is something that is true of the folder until it is mended. It is logged when it becomes true, and once when it ends.
type notice struct {
	// key identifies it across edits that only move its line.
	key, text string
	// ended is logged when it is no longer true; empty if nothing is worth saying then.
	ended string
}

// notices are those that were true at the last load.
type notices struct{ now map[string]notice }

// change logs what has become true and what has ended, in the order given.
func (n *notices) change(list []notice, say func(string, ...any)) {
	next := map[string]notice{}
	for _, x := range list {
		_, known := n.now[x.key]
		_, twice := next[x.key]
		if next[x.key] = x; !known && !twice {
			say("%s", x.text)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(n.now)) {
		if _, still := next[key]; !still && n.now[key].ended != "" {
			say("%s", n.now[key].ended)
		}
	}
	n.now = next
}

// findingNotices are findings as notices.
func findingNotices(list []finding) []notice {
	out := make([]notice, len(list))
	for i, f := range list {
		text := f.String()
		key := strings.Join([]string{f.File, f.Object, f.Path, f.Reason, f.Message}, "\x00")
		if f.Reason == source.ReasonDuplicateKey {
			key = strings.Join([]string{f.File, f.Object, f.Path, f.Reason}, "\x00") // the message names a line
		}
		out[i] = notice{key: key, text: text, ended: "MENDED " + text}
	}
	return out
}

// keptNotices say which objects do not follow their files.
func keptNotices(c content, accepted map[mesh.Object]int64) []notice {
	var out []notice
	for _, id := range c.refused {
		out = append(out, notice{key: "refused " + id.String(), text: fmt.Sprintf("KEPT %s as it was", id), ended: fmt.Sprintf("%s follows its file again", id)})
	}
	for _, id := range slices.SortedFunc(maps.Keys(accepted), mesh.Object.Compare) {
		out = append(out, notice{key: "accepted " + id.String(), text: fmt.Sprintf("KEPT %s in its last accepted form", id), ended: fmt.Sprintf("%s follows its file again", id)})
	}
	if len(c.missing) > 0 {
		out = append(out, notice{key: "missing", text: fmt.Sprintf("KEPT %s: it may stand in the document that cannot be read", some(c.missing))})
	}
	return out
}

// some names a few objects and counts the rest.
func some(ids []mesh.Object) string {
	const shown = 3
	var names []string
	for _, id := range ids[:min(shown, len(ids))] {
		names = append(names, id.String())
	}
	if rest := len(ids) - shown; rest > 0 {
		names = append(names, fmt.Sprintf("%d more", rest))
	}
	return strings.Join(names, ", ")
}

// ports are the ports that proxies serve and that they may call. A port of a service without any route is none.
func ports(m *mesh.Model) map[string]bool {
	out := map[string]bool{}
	for _, w := range m.Workloads {
		for _, l := range w.Listeners {
			out[fmt.Sprintf("port %d of %s", l.Port, w.Object)] = true
		}
		for _, b := range w.Backends {
			for _, p := range b.Service.Ports {
				if len(p.Routes) > 0 {
					out[fmt.Sprintf("%s:%d of %s", b.Service.Name, p.Port, b.Service.Object)] = true
				}
			}
		}
	}
	return out
}

// removed lists, sorted, the ports that an edit took away. A valid edit is served; whoever made it by mistake reads it here.
func removed(before, now *mesh.Model) []string {
	var out []string
	have := ports(now)
	for port := range ports(before) {
		if !have[port] {
			out = append(out, port)
		}
	}
	slices.Sort(out)
	return out
}
