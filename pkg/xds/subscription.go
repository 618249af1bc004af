package xds

import (
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// What is known of a resource whose version is not: the proxy certainly has one of that name, or it may have one. Neither equals
// any version, so the resource is sent again. An empty version means that the proxy was told that there is none.
const (
	stale  = "stale"
	unsure = "unsure"
)

// typeState is the account of one resource type of a stream: what the proxy wants, has, and was sent.
type typeState struct {
	typeURL string
	// request stands for the proxy's requests in the answers; only its type matters.
	request *discoveryv3.DeltaDiscoveryRequest
	// names are the subscribed names; nil for the types of which everything is sent.
	names map[string]struct{}
	// out takes answers; nil while a request is being taken in, and after the end of the stream.
	out      chan cachev3.DeltaResponse
	answered bool
	// known is what the proxy has, by name.
	known map[string]string
	// flight are the responses that the proxy has not yet replied to, oldest first.
	flight  []*delivery
	refused map[string]Refusal
	// most bounds the resources of a response while the one that is refused is looked for; 0 is no bound.
	most int
	// doubted is set from a NACK to the next ACK: Envoy then does not know itself what it has.
	doubted bool
}

// delivery is one response on its way: what it carried, by name; removed names have an empty version.
type delivery struct {
	nonce   string
	content map[string]string
}

// Envoy acknowledges clusters when they are warm, which takes up to a minute with health checks, and in order: one slow cluster keeps
// the acknowledgements of all later responses back. Those must go out all the same. maxUnsent bounds what waits in the library's
// channel, maxFlight what the proxy has not replied to. The other types are acknowledged at once.
const maxUnsent, maxFlight = 4, 64

func newTypeState(typeURL string) *typeState {
	return &typeState{
		typeURL: typeURL, request: &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL},
		known: map[string]string{}, refused: map[string]Refusal{},
	}
}

// free is true when a response may be sent now.
func (t *typeState) free() bool {
	if t.out == nil {
		return false
	}
	if t.typeURL == ClusterType && t.most == 0 {
		n := len(t.flight)
		return n < maxUnsent || n < maxFlight && t.flight[n-maxUnsent].nonce != ""
	}
	return len(t.flight) == 0
}

// has is true when the proxy certainly has some version of the name.
func (t *typeState) has(name string) bool {
	version, ok := t.known[name]
	return ok && version != unsure && version != ""
}

// knows is true when something is noted of the name.
func (t *typeState) knows(name []byte) bool {
	_, ok := t.known[string(name)]
	return ok
}

// told returns the version of the name that the proxy has or is about to have.
func (t *typeState) told(name string) (version string, ok bool) {
	for i := len(t.flight) - 1; i >= 0; i-- {
		if version, ok = t.flight[i].content[name]; ok {
			return version, true
		}
	}
	version, ok = t.known[name]
	return version, ok
}

// subscribe takes the subscribed names over and forgets what is no longer wanted.
func (t *typeState) subscribe(names map[string]struct{}) {
	t.names = make(map[string]struct{}, len(names))
	for name := range names {
		t.names[name] = struct{}{}
	}
	for name := range t.known {
		if _, ok := t.names[name]; !ok {
			delete(t.known, name)
		}
	}
}

// again makes the names be sent again: the proxy asked for them once more.
func (t *typeState) again(names []string) {
	for _, name := range names {
		delete(t.known, name)
		for _, d := range t.flight {
			delete(d.content, name)
		}
	}
}

// take removes the delivery with the given nonce from the flight; nil if there is none.
func (t *typeState) take(nonce string) *delivery {
	for i, d := range t.flight {
		if d.nonce != "" && d.nonce == nonce {
			t.flight = append(t.flight[:i:i], t.flight[i+1:]...)
			return d
		}
	}
	return nil
}

// acknowledge notes that the proxy has everything that d carried.
func (t *typeState) acknowledge(d *delivery) {
	for name, version := range d.content {
		if version == "" && wildcard(t.typeURL) {
			delete(t.known, name)
		} else {
			t.known[name] = version
		}
		delete(t.refused, name)
	}
	t.doubted = false
}

// refuse quarantines what a NACK is about: the resources it names, else the only one of the response. If neither tells, half as
// many are sent at a time. What was in the response beside them may have been applied or not, and is sent again too.
func (t *typeState) refuse(d *delivery, text string) {
	text = cut(text, maxRefusal)
	named := culprits(text, d.content)
	// All that are refused share what is kept of the text.
	text = cut(text, MaxText)
	for name, version := range d.content {
		switch {
		case version == "":
			delete(t.known, name) // a removal is not tried twice
		case t.has(name):
			t.known[name] = stale
		default:
			t.known[name] = unsure
		}
		if named[name] {
			t.refused[name] = Refusal{Type: t.typeURL, Name: name, Version: version, Message: text}
		}
	}
	// Of a response of one Envoy's account stays right: it has the version before.
	t.most, t.doubted = 0, t.doubted || len(d.content) > 1
	if len(named) == 0 {
		t.most = len(d.content) / 2
	}
}

// culprits returns the names that a refusal is about. Envoy lists clusters and listeners as "name: reason", and a reason may contain
// any word; elsewhere the mention of a single name counts. A response of one needs no words.
func culprits(text string, content map[string]string) map[string]bool {
	listed, mentioned := map[string]bool{}, map[string]bool{}
	for name := range content {
		if len(content) == 1 || mentions(text, name, ": ") {
			listed[name] = true
		}
		if mentions(text, name, "") {
			mentioned[name] = true
		}
	}
	if len(listed) == 0 && len(mentioned) == 1 {
		return mentioned
	}
	return listed
}

// quarantined is true for content that the proxy refused; an empty version stands for a removal.
func (t *typeState) quarantined(name, version string) bool {
	bad, ok := t.refused[name]
	return ok && bad.Version == version
}

// mentions is true when text contains name as a whole word, followed by tail.
func mentions(text, name, tail string) bool {
	for rest := text; name != ""; {
		i := strings.Index(rest, name)
		if i < 0 {
			return false
		}
		end := i + len(name)
		if (i == 0 || !wordByte(rest[i-1])) && wordEnds(rest[end:]) && strings.HasPrefix(rest[end:], tail) {
			return true
		}
		rest = rest[end:]
	}
	return false
}

// wordEnds is true unless rest continues a name; a dot or slash does when more of the name follows it.
func wordEnds(rest string) bool {
	if rest == "" {
		return true
	}
	if rest[0] == '.' || rest[0] == '/' {
		return len(rest) == 1 || !wordByte(rest[1])
	}
	return !wordByte(rest[0])
}

func wordByte(b byte) bool {
	return b == '_' || b == '-' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
