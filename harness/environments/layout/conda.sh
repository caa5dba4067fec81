# The two conda commands that evaluation scripts use, for the one environment of the image.
conda() {
    case "${1-}" in
        activate) _conda_select "${2:-base}" ;;
        deactivate) _conda_select base ;;
        *)
            echo "conda: this image knows 'conda activate' and 'conda deactivate' only" >&2
            return 2
            ;;
    esac
}

_conda_select() {
    local root=/opt/miniconda3 prefix hook
    case "$1" in
        base | "$root") prefix=$root ;;
        testbed | "$root/envs/testbed") prefix=$root/envs/testbed ;;
        *)
            echo "conda: no environment '$1'; there are 'base' and 'testbed'" >&2
            return 1
            ;;
    esac
    PATH=":$PATH:"
    PATH=${PATH//:$root\/envs\/testbed\/bin:/:}
    PATH=${PATH//:$root\/bin:/:}
    PATH=${PATH#:}
    PATH="$prefix/bin:${PATH%:}"
    CONDA_PREFIX=$prefix
    CONDA_DEFAULT_ENV=${prefix##*/}
    [ "$prefix" != "$root" ] || CONDA_DEFAULT_ENV=base
    export PATH CONDA_PREFIX CONDA_DEFAULT_ENV
    hash -r
    for hook in "$prefix"/etc/conda/activate.d/*.sh; do
        [ ! -e "$hook" ] || . "$hook"
    done
}
