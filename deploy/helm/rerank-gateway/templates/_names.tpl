{{- /* The name of a Service begins with a letter and has no dots; that of a release may be `1.2`. */ -}}
{{- define "rerank-gateway.name" -}}
{{- $name := .Release.Name | replace "." "-" }}
{{- if not (regexMatch "^[a-z]" $name) }}{{ $name = printf "%s-%s" .Chart.Name $name }}
{{- else if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end }}
{{- $name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "rerank-gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "rerank-gateway.labels" -}}
{{ include "rerank-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- /* Where callers need a certificate the kubelet cannot ask, and the container looks whether connections are taken. */ -}}
{{- define "rerank-gateway.probe" -}}
{{- $tls := .root.Values.config.server.tls | default dict }}
{{- if $tls.client_ca -}}
exec: {command: [python, -m, gateway.server.healthcheck]}
{{- else -}}
httpGet: {path: {{ .path }}, port: http, scheme: {{ ternary "HTTPS" "HTTP" (not (empty $tls)) }}}
{{- end }}
{{- end }}
