# Completion of eshm for fish.
set -l commands ls stat top cat plot hz send echo ping rm clean doctor bench metrics version
complete -c eshm -f
complete -c eshm -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c eshm -n "__fish_seen_subcommand_from stat cat plot hz send echo ping rm doctor" -a "(eshm ls --names 2>/dev/null)"
complete -c eshm -n "__fish_seen_subcommand_from ls stat hz ping doctor bench version cat send" -l json
complete -c eshm -n "__fish_seen_subcommand_from ls" -l watch -l names
complete -c eshm -n "__fish_seen_subcommand_from top" -l batch -l sort -l filter
complete -c eshm -n "__fish_seen_subcommand_from cat" -l s2m -l both -l hex -l raw -l text -l field -l follow
complete -c eshm -n "__fish_seen_subcommand_from send echo ping" -l role -xa "auto master slave"
complete -c eshm -n "__fish_seen_subcommand_from send" -l rate -l type -l whole -l repeat -l wait -F
complete -c eshm -n "__fish_seen_subcommand_from rm" -l force
complete -c eshm -n "__fish_seen_subcommand_from clean" -l dry-run
complete -c eshm -n "__fish_seen_subcommand_from metrics" -l listen
