# Completion of eshm for bash.
_eshm() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
  local commands="ls stat top cat plot hz send echo ping rm clean doctor bench metrics version"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$word")
    return
  fi
  case $before in
    --role) mapfile -t COMPREPLY < <(compgen -W "auto master slave" -- "$word"); return ;;
    --sort) mapfile -t COMPREPLY < <(compgen -W "name rate age size" -- "$word"); return ;;
  esac
  if [ "${word#-}" != "$word" ]; then
    local flags
    flags=$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | grep -o -e '--[a-z][a-z0-9-]*' | sort -u)
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
    return
  fi
  local name
  if [ "$COMP_CWORD" -eq 2 ] || [ "$command" = rm ]; then
    while IFS= read -r name; do
      [ "${name#"$word"}" = "$name" ] && [ -n "$word" ] || COMPREPLY+=("$(printf %q "$name")")
    done < <("${COMP_WORDS[0]}" ls --names 2>/dev/null)
  elif [ "$command" = send ]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  fi
}
complete -F _eshm eshm
