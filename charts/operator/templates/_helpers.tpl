{{- define "sightline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "sightline" .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-sightline" .Release.Name -}}
{{- end -}}
{{- end }}

{{- define "sightline.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "sightline.fullname" .) -}}
{{- end }}

{{- /* What tells the pods of this release from others. It never changes: a Deployment's selector cannot. */ -}}
{{- define "sightline.selectorLabels" -}}
app.kubernetes.io/name: sightline
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sightline.labels" -}}
{{ include "sightline.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "sightline.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* The port of --listen, which may be an IPv6 address. */ -}}
{{- define "sightline.port" -}}
{{- regexFind "[0-9]+$" .Values.flags.listen -}}
{{- end }}

{{- define "sightline.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "sightline.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}
