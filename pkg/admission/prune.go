package admission

import (
	"strconv"
	"strings"
)

// prunable lists, by kind, the optional lists that the schema refuses when they are empty. App Mesh's webhook dropped empty
// lists as a side effect of decoding and encoding, so manifests with them were accepted. A star stands for every item.
var prunable = map[string][]string{
	"VirtualRouter": append([]string{"spec/listeners"}, routeLists("spec/routes/*")...),
	"Route":         routeLists("spec"),
	"GatewayRoute": {
		"spec/httpRoute/match/headers", "spec/httpRoute/match/queryParameters",
		"spec/http2Route/match/headers", "spec/http2Route/match/queryParameters",
		"spec/grpcRoute/match/metadata",
	},
}

// routeLists are the prunable lists of a route whose fields lie under prefix.
func routeLists(prefix string) []string {
	var lists []string
	for _, kind := range []string{"/httpRoute", "/http2Route"} {
		for _, list := range []string{"/match/headers", "/match/queryParameters", "/retryPolicy/httpRetryEvents", "/retryPolicy/tcpRetryEvents"} {
			lists = append(lists, prefix+kind+list)
		}
	}
	for _, list := range []string{"/match/metadata", "/retryPolicy/grpcRetryEvents", "/retryPolicy/httpRetryEvents", "/retryPolicy/tcpRetryEvents"} {
		lists = append(lists, prefix+"/grpcRoute"+list)
	}
	return lists
}

// DropEmptyLists removes from an object of a kind, in its JSON form, the empty lists that the mutating webhook removes.
func DropEmptyLists(kind string, object map[string]any) { (&patch{object: object}).prune(kind) }

// prune removes the empty lists of a kind.
func (p *patch) prune(kind string) {
	for _, list := range prunable[kind] {
		p.pruneAt("", p.object, strings.Split(list, "/"))
	}
}

// pruneAt follows steps from value, which lies at pointer, and removes what it finds there if that is an empty list. Values of
// another shape than expected are left to the schema.
func (p *patch) pruneAt(pointer string, value any, steps []string) {
	if steps[0] == "*" {
		items, _ := value.([]any)
		for i, item := range items {
			p.pruneAt(pointer+"/"+strconv.Itoa(i), item, steps[1:])
		}
		return
	}
	parent, ok := value.(map[string]any)
	if !ok {
		return
	}
	if len(steps) > 1 {
		p.pruneAt(pointer+"/"+steps[0], parent[steps[0]], steps[1:])
		return
	}
	if list, ok := parent[steps[0]].([]any); ok && len(list) == 0 {
		p.remove(pointer, parent, steps[0])
	}
}
