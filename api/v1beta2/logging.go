package v1beta2

// Logging says where a proxy writes its access log. Absent: no access log.
type Logging struct {
	// AccessLog is the log of requests and connections.
	// +optional
	AccessLog *AccessLog `json:"accessLog,omitempty"`
}

// AccessLog is the log of requests and connections.
type AccessLog struct {
	// File is the only kind of sink.
	// +optional
	File *FileAccessLog `json:"file,omitempty"`
}

// FileAccessLog writes the access log to a file of the Envoy container.
type FileAccessLog struct {
	// Path of the file, usually /dev/stdout.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Path string `json:"path"`
	// Format of a line. Absent: Envoy's default text format.
	// +optional
	Format *LoggingFormat `json:"format,omitempty"`
}

// LoggingFormat is a union: exactly one field is set; none counts as the default format.
type LoggingFormat struct {
	// JSON makes one JSON object per line of these pairs.
	// +optional
	JSON []LoggingField `json:"json,omitempty"`
	// Text is an Envoy format string; it must bring its own newline.
	// +optional
	Text *string `json:"text,omitempty"`
}

// LoggingField is one pair of a JSON access log line.
type LoggingField struct {
	// Key is the field's name.
	// +kubebuilder:validation:MinLength=1
	Key string `json:"key"`
	// Value is an Envoy format string.
	// +kubebuilder:validation:MinLength=1
	Value string `json:"value"`
}
