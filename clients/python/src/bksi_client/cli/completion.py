"""``bksi --install-completion``: Cyclopts' own, which a list of the commands need not load."""

from cyclopts.completion.install import create_install_completion_command

from bksi_client.cli.root import root

install = create_install_completion_command(root().install_completion, add_to_startup=True)
