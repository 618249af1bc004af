package fields

import "testing"

// TestEveryFieldHasACase fails for a field that nobody would miss.
func TestEveryFieldHasACase(t *testing.T) {
	list, err := Count("../../pkg/pipeline/testdata")
	if err != nil {
		t.Fatal(err)
	}
	const leaves = 328 // below spec in the seven kinds of App Mesh
	if len(list) != leaves {
		t.Errorf("%d leaf fields, App Mesh has %d", len(list), leaves)
	}
	for _, f := range list {
		if f.Case == "" && f.Without == "" {
			t.Errorf("no golden file would notice if %s were ignored", f.Path)
		}
		if f.Case != "" && f.Without != "" {
			t.Errorf("%s is said to have no effect, but %s notices it", f.Path, f.Case)
		}
	}
}
