from vcmaug.cli.main import main
main()
