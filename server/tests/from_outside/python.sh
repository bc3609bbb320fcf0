# A Python with the packages of a file: `python_with REQUIREMENTS FOLDER [PIP OPTION...]` makes FOLDER/python.
# Read by the scripts beside it.
python_with() {
    local requirements=$1 folder=$2
    shift 2
    # A folder that was made from the same file is kept.
    if ! cmp -s "$requirements" "$folder/requirements.txt"; then
        rm -rf "$folder/python"
        python3 -m venv "$folder/python" 2>/dev/null || {
            # Debian's Python comes without venv.
            python3 -m pip install --quiet --break-system-packages virtualenv
            python3 -m virtualenv --quiet "$folder/python"
        }
        "$folder/python/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$@" -r "$requirements"
        cp "$requirements" "$folder/requirements.txt"
    fi
}
