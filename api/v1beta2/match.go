package v1beta2

// HeaderMatch tests one HTTP header or one gRPC metadata key.
type HeaderMatch struct {
	// Name of the header or metadata key.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	Name string `json:"name"`
	// Match is the test of the value. Absent: the header only has to be present.
	// +optional
	Match *ValueMatch `json:"match,omitempty"`
	// Invert negates the test. Absent: false.
	// +optional
	Invert *bool `json:"invert,omitempty"`
}

// ValueMatch is a union: exactly one field is set.
type ValueMatch struct {
	// Exact is the whole value.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Exact *string `json:"exact,omitempty"`
	// Range holds the value, read as an integer.
	// +optional
	Range *MatchRange `json:"range,omitempty"`
	// Prefix is what the value starts with.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Prefix *string `json:"prefix,omitempty"`
	// Regex is an RE2 expression that the whole value matches.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Regex *string `json:"regex,omitempty"`
	// Suffix is what the value ends with.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Suffix *string `json:"suffix,omitempty"`
}

// MatchRange is the half-open interval [Start, End) of integers.
type MatchRange struct {
	// Start is the first integer that matches.
	Start int64 `json:"start"`
	// End is the first integer that no longer matches; it must exceed Start.
	End int64 `json:"end"`
}

// PathMatch is a union over the whole request path without its query string: exactly one field is set.
type PathMatch struct {
	// Exact is the whole path.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Exact *string `json:"exact,omitempty"`
	// Regex is an RE2 expression that the whole path matches.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Regex *string `json:"regex,omitempty"`
}

// HostnameMatch is a union over the request's host: exactly one field is set.
type HostnameMatch struct {
	// Exact is the whole host name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Exact *string `json:"exact,omitempty"`
	// Suffix is what the host name ends with.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Suffix *string `json:"suffix,omitempty"`
}

// QueryParameterMatch tests one parameter of the query string.
type QueryParameterMatch struct {
	// Name of the parameter.
	Name string `json:"name"`
	// Match is the test of the value. Absent: the parameter only has to be present.
	// +optional
	Match *QueryParameterValueMatch `json:"match,omitempty"`
}

// QueryParameterValueMatch is the test of a query parameter's value. Exact is optional in the schema but required by the webhook.
type QueryParameterValueMatch struct {
	// Exact is the whole value.
	// +optional
	Exact *string `json:"exact,omitempty"`
}
