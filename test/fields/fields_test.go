package fields

import "testing"

// TestEveryFieldHasACase fails for a field that nobody would miss.
func TestEveryFieldHasACase(t *testing.T) {
	crds, err := ReadSchemas("../../config/crd/bases")
	if err != nil {
		t.Fatal(err)
	}
	list, err := Count("../../pkg/pipeline/testdata", crds)
	if err != nil {
		t.Fatal(err)
	}
	const leaves = 328 // below spec in the seven kinds of App Mesh
	if len(list) != leaves {
		t.Errorf("%d leaf fields, App Mesh has %d", len(list), leaves)
	}
	for _, f := range list {
		switch {
		case f.Without() && len(f.Effect.Envoy) > 0:
			t.Errorf("%s is said to have no effect, but it changes %v", f.Path, f.Effect.Envoy)
		case !f.Without() && f.Case == "":
			t.Errorf("no golden file would notice if %s were ignored", f.Path)
		case f.Rule == nil && len(f.Effect.Envoy) == 0 && !f.Effect.Members:
			t.Errorf("%s changes at most what conditions say; a rule should say so", f.Path)
		}
		if _, _, ok := crds.at(f.Path); !ok {
			t.Errorf("%s is not in the CRDs", f.Path)
		}
	}
}
