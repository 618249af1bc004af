package pipeline

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/translate"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Publisher takes what a pass made. It is the xDS cache, or nothing for offline use.
type Publisher interface {
	Publish(*xds.Snapshot)
}

// Snapshot is everything one pass read and made. It is immutable.
type Snapshot struct {
	// Seq counts passes from 1.
	Seq     uint64
	Objects *input.Objects
	Result  *input.Result
	// Sets by group id.
	Sets map[string]*xds.Set
	// Faults are parts of sets that translation had to leave out; the problems of the Result tell of them too.
	Faults []translate.Fault
	// Failed groups kept the set they had; the errors are faults of ours.
	Failed map[string]error
	// Changed counts the groups whose set is another than before.
	Changed int
	// Durations of the stages.
	Compile, Translate time.Duration
	introduced         map[mesh.Object]version
}

// version is the first pass that saw a generation of an object.
type version struct {
	uid        string
	generation int64
	seq        uint64
}

// Introduced returns the number of the first snapshot made from the present generation of an object, 0 if it is not known.
func (s *Snapshot) Introduced(o mesh.Object) uint64 { return s.introduced[o].seq }

// Generation returns the generation of an object that the snapshot was made from, 0 if it did not exist.
func (s *Snapshot) Generation(o mesh.Object) int64 { return s.introduced[o].generation }

// Pipeline runs passes. Calls of Step must not overlap; everything else is safe for concurrent use.
type Pipeline struct {
	publisher  Publisher
	compiler   compile.Compiler
	translator translate.Translator
	last       atomic.Pointer[Snapshot]
	now        func() time.Time

	mu      sync.Mutex
	history map[string][]content
}

// content is one set that was published for a group, and the passes in which it was current.
type content struct {
	version     string
	first, last uint64
}

// keptContents bounds the history of a group. A proxy that acknowledges something older counts as not yet there.
const keptContents = 64

// New returns a pipeline that hands its snapshots to p, which may be nil. now measures durations.
func New(p Publisher, now func() time.Time) *Pipeline {
	return &Pipeline{publisher: p, now: now, history: map[string][]content{}}
}

// Last returns the snapshot of the last pass, nil before the first.
func (p *Pipeline) Last() *Snapshot { return p.last.Load() }

// Step runs one pass over the objects: compile, translate, publish. A group that cannot be translated keeps its last set.
func (p *Pipeline) Step(o *input.Objects) *Snapshot {
	prev := p.last.Load()
	s := &Snapshot{Seq: 1, Objects: o}
	if prev != nil {
		s.Seq = prev.Seq + 1
	}
	// 1. Decide.
	start := p.now()
	s.Result = p.compiler.Compile(o)
	s.Compile = p.now().Sub(start)
	// 2. Encode; what did not change is the same pointer as before.
	start = p.now()
	s.Sets, s.Faults, s.Failed = p.translator.Translate(s.Result.Model)
	s.Result = withFaults(s.Result, s.Faults)
	s.Translate = p.now().Sub(start)
	keepFailed(s, prev)
	s.Changed = countChanged(s, prev)
	// 3. Remember what status needs before anybody can acknowledge anything.
	s.introduced = introduce(s, prev)
	p.remember(s)
	p.last.Store(s)
	// 4. Publish.
	if p.publisher != nil {
		p.publisher.Publish(&xds.Snapshot{Seq: s.Seq, Sets: s.Sets, GroupOf: groupOf(s.Result.Model)})
	}
	return s
}

// Try runs one pass like Step and survives a panic in it: then everything goes on with the snapshot before, which is returned (nil if there
// was none), and what the pipeline remembered of earlier passes is forgotten, because it may be inconsistent.
func (p *Pipeline) Try(o *input.Objects) (s *Snapshot, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			p.compiler, p.translator = compile.Compiler{}, translate.Translator{}
			s, err = p.last.Load(), fmt.Errorf("pass: panic: %v\n%s", reason, debug.Stack())
		}
	}()
	return p.Step(o), nil
}

// withFaults adds what translation had to leave out to the problems.
func withFaults(r *input.Result, faults []translate.Fault) *input.Result {
	if len(faults) == 0 {
		return r
	}
	out := *r
	out.Problems = slices.Clone(r.Problems)
	for _, f := range faults {
		out.Problems = append(out.Problems, mesh.Problem{
			Object: f.Object, Severity: mesh.Rejected, Partial: true, Reason: meshv1beta2.ReasonInvalidConfiguration,
			Message: fmt.Sprintf("%s is left out, because Envoy would refuse it: %s; change what the text names", f.Resource, f.Text),
		})
	}
	slices.SortFunc(out.Problems, mesh.Problem.Compare)
	return &out
}

func groupOf(m *mesh.Model) func(string) (string, bool) {
	return func(proxy string) (string, bool) {
		g, ok := m.Members[proxy]
		return g, ok
	}
}

func keepFailed(s, prev *Snapshot) {
	if prev == nil {
		return
	}
	for id := range s.Failed {
		if set, ok := prev.Sets[id]; ok {
			s.Sets[id] = set
		}
	}
}

func countChanged(s, prev *Snapshot) int {
	n := 0
	for id, set := range s.Sets {
		if prev == nil || prev.Sets[id] != set {
			n++
		}
	}
	return n
}

// introduce notes the objects whose generation is new in this pass.
func introduce(s, prev *Snapshot) map[mesh.Object]version {
	size := 0
	if prev != nil {
		size = len(prev.introduced)
	}
	out := make(map[mesh.Object]version, size)
	for o := range input.All[meshv1beta2.Object](s.Objects) {
		id := input.ID(o)
		v := version{uid: string(o.GetUID()), generation: o.GetGeneration(), seq: s.Seq}
		if prev != nil {
			if had, ok := prev.introduced[id]; ok && had.uid == v.uid && had.generation == v.generation {
				v.seq = had.seq
			}
		}
		out[id] = v
	}
	return out
}

// remember extends the history of every group.
func (p *Pipeline) remember(s *Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.history {
		if _, ok := s.Sets[id]; !ok {
			delete(p.history, id)
		}
	}
	for id, set := range s.Sets {
		h := p.history[id]
		if n := len(h); n > 0 && h[n-1].version == set.Version {
			h[n-1].last = s.Seq
			continue
		}
		if len(h) == keptContents {
			h = append(h[:0], h[1:]...)
		}
		p.history[id] = append(h, content{version: set.Version, first: s.Seq, last: s.Seq})
	}
}

// AckedThrough returns the newest snapshot of which a proxy of the group runs everything, when it has acknowledged the content
// with version acked and is being sent the content with version sent; 0 if that content was not published lately.
//
// Only what was published up to sent counts: a group that goes from A to B and back to A may have a proxy that acknowledged the
// first A and is on its way to B, and that says nothing about the second A.
func (p *Pipeline) AckedThrough(group, acked, sent string) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.history[group]
	i := len(h) - 1
	for i >= 0 && h[i].version != sent {
		i--
	}
	for ; i >= 0; i-- {
		if h[i].version == acked {
			return h[i].last
		}
	}
	return 0
}
