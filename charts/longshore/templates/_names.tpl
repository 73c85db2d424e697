{{- define "longshore.name" -}}
{{- $name := ternary .Release.Name (printf "%s-longshore" .Release.Name) (contains "longshore" .Release.Name) -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "longshore.rabbitmq" -}}
{{- printf "%s-rabbitmq" (.Release.Name | trunc 40 | trimSuffix "-") -}}
{{- end -}}

{{- define "longshore.rabbitmq.secret" -}}
{{- .Values.rabbitmq.existingSecret | default (include "longshore.rabbitmq" .) -}}
{{- end -}}

{{- define "longshore.labels" -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "longshore.selector" -}}
app.kubernetes.io/name: longshore
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "longshore.rabbitmq.labels" -}}
{{ include "longshore.rabbitmq.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "longshore.rabbitmq.selector" -}}
app.kubernetes.io/name: rabbitmq
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: broker
{{- end -}}
