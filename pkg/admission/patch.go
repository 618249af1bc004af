package admission

import (
	"gomodules.xyz/jsonpatch/v2"
)

// patch collects the JSON patch of one object. object is the decoded JSON of the request; it is kept up to date, so that later
// steps see earlier ones.
type patch struct {
	object     map[string]any
	operations []jsonpatch.JsonPatchOperation
}

// spec returns the object's spec, or nil.
func (p *patch) spec() map[string]any {
	spec, _ := p.object["spec"].(map[string]any)
	return spec
}

// set gives spec.<field> a value, whether or not it had one.
func (p *patch) set(field string, value any) {
	if p.spec() == nil {
		p.object["spec"] = map[string]any{}
		p.operations = append(p.operations, jsonpatch.NewOperation("add", "/spec", map[string]any{}))
	}
	p.spec()[field] = value
	p.operations = append(p.operations, jsonpatch.NewOperation("add", "/spec/"+field, value))
}

// remove takes a member out of the JSON object that lies at pointer.
func (p *patch) remove(pointer string, parent map[string]any, member string) {
	delete(parent, member)
	p.operations = append(p.operations, jsonpatch.NewOperation("remove", pointer+"/"+member, nil))
}
