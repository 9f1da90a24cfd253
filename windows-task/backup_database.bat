@echo off
rem A backup of all jobs of pgkeep.toml, for a double click. Respaldo de todas las bases de datos de pgkeep.toml.
rem
rem pgkeep.exe is looked for beside this file, then on the PATH; pgkeep.toml beside this file, then in
rem %PROGRAMDATA%\pgkeep, then where pgkeep itself looks. For anything else type pgkeep itself.
rem The exit code is that of pgkeep: 0 is done, and README.md says what the others mean.
setlocal EnableExtensions DisableDelayedExpansion

rem Names with accents are shown as they are.
chcp 65001 >nul 2>&1

set "PGKEEP_EXE=%~dp0pgkeep.exe"
if exist "%PGKEEP_EXE%" goto found
set "PGKEEP_EXE="
for %%P in (pgkeep.exe) do set "PGKEEP_EXE=%%~$PATH:P"
if defined PGKEEP_EXE goto found
echo error: pgkeep.exe is neither beside this file nor on the PATH.
echo   hint: copy pgkeep.exe into "%~dp0"
echo   Copie pgkeep.exe en la carpeta de este archivo.
set "RESULT=1"
goto told

:found
set "PGKEEP_TOML=%~dp0pgkeep.toml"
if exist "%PGKEEP_TOML%" goto configured
set "PGKEEP_TOML=%PROGRAMDATA%\pgkeep\pgkeep.toml"
if exist "%PGKEEP_TOML%" goto configured
"%PGKEEP_EXE%" backup now
set "RESULT=%ERRORLEVEL%"
goto told

:configured
"%PGKEEP_EXE%" --config "%PGKEEP_TOML%" backup now
set "RESULT=%ERRORLEVEL%"

:told
echo.
if "%RESULT%"=="0" echo Backup done. Respaldo terminado.
if not "%RESULT%"=="0" echo THE BACKUP IS NOT DONE, exit code %RESULT%: see above.
if not "%RESULT%"=="0" echo EL RESPALDO NO ESTA HECHO, vea el mensaje de arriba.

rem The Explorer starts cmd.exe with the whole path of this file. Then the window would close before anybody has read it.
setlocal EnableDelayedExpansion
set "LINE=!CMDCMDLINE!"
set "PAUSED=yes"
if "!LINE:%~f0=!"=="!LINE!" set "PAUSED="
if defined PGKEEP_NO_PAUSE set "PAUSED="
if defined PAUSED pause
exit /b %RESULT%
