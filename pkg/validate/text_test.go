package validate_test

import (
	"strings"
	"testing"

	"github.com/aftermesh/aftermesh/pkg/validate"
)

// The real Envoys' view of such strings is held against ours in test/envoy/validate.

func TestLogFormat(t *testing.T) {
	for format, want := range map[string]string{
		"":                               "",
		"100%% %PROTOCOL% %REQ(A?:B):5%": "",
		"%START_TIME(%Y-%m)%":            "",
		"50% off":                        "is not an operator",
		"%PROTOCOL":                      "is not an operator",
		"%NOPE%":                         "no operator NOPE",
		"%CEL(a)%":                       "no operator CEL",
		"%DURATION(a)%":                  "takes no argument",
		"%DURATION:5%":                   "takes no length",
		"%REQ%":                          "needs an argument",
		"%REQ()%":                        "cannot use the argument",
		"%GRPC_STATUS(a)%":               "cannot use the argument",
	} {
		err := validate.LogFormat(format)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", format, err, want)
		}
	}
}

func TestRegex(t *testing.T) {
	for expression, want := range map[string]string{
		`/a.*`:             "",
		`\x{FF}\377é`:      "",
		`\\x{100}`:         "",
		`a(?=b)`:           "invalid or unsupported Perl syntax",
		`(a)\1`:            "invalid escape sequence",
		`\x{100}`:          `escape \x{100}`,
		`\400`:             `escape \400`,
		`(\pL{30}){30}`:    "too large",
		`((a{99}){99}){9}`: "invalid repeat count",
	} {
		err := validate.Regex(expression)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", expression, err, want)
		}
	}
}
