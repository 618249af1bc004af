package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// JSON is b on one line, the same text for the same b every time.
func JSON(b *bootstrapv3.Bootstrap) (string, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("encode bootstrap: %w", err)
	}
	// protojson varies its blanks on purpose; without them the text is stable.
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return "", fmt.Errorf("encode bootstrap: %w", err)
	}
	return line.String(), nil
}

// ownReference finds our references after all dollar signs were doubled.
var ownReference = regexp.MustCompile(`\$\$\(AFTERMESH_[A-Z_]+\)`)

// Argument is JSON as a container's argument: Kubernetes replaces $(NAME) there and takes $$ for one dollar sign, so every
// dollar is doubled except those of our own references.
func Argument(b *bootstrapv3.Bootstrap) (string, error) {
	line, err := JSON(b)
	if err != nil {
		return "", err
	}
	return ownReference.ReplaceAllStringFunc(strings.ReplaceAll(line, "$", "$$"), func(reference string) string {
		return reference[1:]
	}), nil
}
