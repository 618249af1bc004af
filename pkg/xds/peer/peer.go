package peer

import (
	"encoding/json"
	"maps"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Row is what a replica knows of one proxy that is connected to it.
type Row struct {
	// Pod is the UID of the proxy's pod, Group its group.
	Pod   string `json:"pod"`
	Group string `json:"group,omitempty"`
	// Namespace and Name of the pod.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// AckedSet is the version of the newest set of which everything is acknowledged; SetVersion what should be there.
	AckedSet   string `json:"acked,omitempty"`
	SetVersion string `json:"set,omitempty"`
	// Rejected is Envoy's text for what it refuses now, with the resource's name in front.
	Rejected string `json:"rejected,omitempty"`
	// Connected is when the stream began.
	Connected time.Time `json:"connected,omitzero"`
	// Unknown is set by the reader when the replica that told this cannot be reached.
	Unknown bool `json:"unknown,omitempty"`
	// Replica is set by the reader: who told this.
	Replica string `json:"replica,omitempty"`
}

// update is one message: rows that changed, by pod, pods that are gone, and the newest resourceVersion seen of kinds where that
// moved. An empty one says that the replica is alive.
type update struct {
	Set  []Row             `json:"set,omitempty"`
	Gone []string          `json:"gone,omitempty"`
	Seen map[string]string `json:"seen,omitempty"`
	// More says that the change goes on in the next message.
	More bool `json:"more,omitempty"`
}

// rowsPerMessage keeps messages far below the limit of gRPC, 4 MB: a row has at most some kilobytes.
const rowsPerMessage = 500

// parts splits a change into messages of bounded size; the last one carries what is not a row.
func (u update) parts() []update {
	var out []update
	for len(u.Set) > rowsPerMessage {
		out = append(out, update{Set: u.Set[:rowsPerMessage], More: true})
		u.Set = u.Set[rowsPerMessage:]
	}
	return append(out, u)
}

// diff returns the change from one table to another, false if there is none.
func diff(from, to map[string]Row) (update, bool) {
	var u update
	for pod, row := range to {
		if from[pod] != row {
			u.Set = append(u.Set, row)
		}
	}
	for pod := range from {
		if _, ok := to[pod]; !ok {
			u.Gone = append(u.Gone, pod)
		}
	}
	return u, len(u.Set)+len(u.Gone) > 0
}

// moved returns the entries of to that are not in from.
func moved(from, to map[string]string) map[string]string {
	var out map[string]string
	for kind, version := range to {
		if from[kind] != version {
			if out == nil {
				out = map[string]string{}
			}
			out[kind] = version
		}
	}
	return out
}

// newer is true when resource version a is past b. They are decimal numbers of any length without leading zeros; the
// empty one is before all. Source: Kubernetes, which lets clients compare them since 1.35 and made them so all along.
func newer(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}

// apply returns a copy of the table with the change made.
func apply(t map[string]Row, u update) map[string]Row {
	out := maps.Clone(t)
	if out == nil {
		out = map[string]Row{}
	}
	for _, row := range u.Set {
		out[row.Pod] = row
	}
	for _, pod := range u.Gone {
		delete(out, pod)
	}
	return out
}

const (
	service = "aftermesh.peer.v1.Peer"
	method  = "Follow"
)

var followDesc = grpc.StreamDesc{StreamName: method, ServerStreams: true}

func encode(u update) (*wrapperspb.BytesValue, error) {
	b, err := json.Marshal(u)
	return wrapperspb.Bytes(b), err
}

// decode reads a message. A row that cannot be read is left out.
func decode(m *wrapperspb.BytesValue) (update, error) {
	var raw struct {
		Set []json.RawMessage `json:"set"`
		update
	}
	if err := json.Unmarshal(m.GetValue(), &raw); err != nil {
		return update{}, err
	}
	u := raw.update
	u.Set = nil
	for _, text := range raw.Set {
		var row Row
		if json.Unmarshal(text, &row) == nil && row.Pod != "" {
			row.Rejected = row.Rejected[:min(len(row.Rejected), maxText)]
			u.Set = append(u.Set, row)
		}
	}
	return u, nil
}

// maxText bounds what another replica may say of a refusal; it has been cut where it came in.
const maxText = 4 << 10
